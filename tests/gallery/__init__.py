"""The gallery of answers: RIGHT ones in many styles, and WRONG ones, each with a fragment of its diagnosis.

A module holds, by the name of a check: RIGHT, the answers that must pass, the book's own first; WRONG, pairs
of an answer and a piece of the text that it must get; PREDICTED, a prediction, what was measured, and a piece
of the text. A name may stand in one module only.
benchmarks/false_alarms.py measures the first two over many calls.
"""

from gallery import autoencoders, bayes, codes, core, evidence, gap, gradients, prices, regions, whole

MODULES = (autoencoders, bayes, codes, core, evidence, gap, gradients, prices, regions, whole)


def _together(kind: str) -> dict[str, list]:
    return {name: answers for module in MODULES for name, answers in getattr(module, kind, {}).items()}


RIGHT, WRONG, PREDICTED = map(_together, ("RIGHT", "WRONG", "PREDICTED"))
