"""What nbgrader does in this folder, be it through `make` or through its own commands and formgrader."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # nbgrader's own commands would not find `tools`

from nbconvert.preprocessors import CSSHTMLHeaderPreprocessor  # noqa: E402
from nbgrader import preprocessors as steps  # noqa: E402

from tools import grading  # noqa: E402

c = get_config()  # noqa: F821

# `make release` puts the sheets there, from notebooks/exercises, one assignment for each.
c.CourseDirectory.source_directory = "_build/source"
# A text twin holds the solutions.
c.CourseDirectory.ignore = [".ipynb_checkpoints", "*.pyc", "__pycache__", "feedback", "*.md"]

# The text is vaebook.checks.base.STUB, which the checks recognise; importing it here would import PyTorch.
c.ClearSolutions.code_stub = {
    "python": 'raise NotImplementedError("Write your answer in place of this line.")'
}
c.ClearSolutions.text_stub = "*Write your answer here.*"

c.ExecuteSubmission.startup_timeout = 120  # seconds for a kernel to start, and to import PyTorch
c.ExecuteSubmission.timeout = 60  # seconds for a cell
c.ExecuteSubmission.seconds = 300  # for a submission
c.ExecuteSubmission.shutdown_kernel = "immediate"  # a graceful end takes more than a second
c.Autograde.autograde_preprocessors = [
    grading.ExecuteSubmission,
    steps.LimitOutput,
    steps.SaveAutoGrades,
    steps.AssignLatePenalties,
    steps.CheckCellMetadata,
]
c.GenerateFeedback.preprocessors = [steps.GetGrades, grading.HideTests, CSSHTMLHeaderPreprocessor]
c.GenerateFeedback.exporter_class = grading.FeedbackExporter
