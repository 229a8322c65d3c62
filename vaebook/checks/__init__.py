"""Checks that say which mistake was made: `from vaebook import checks as check; check.log_mean_exp(mine)`.

Each takes your function, draws fresh random inputs, and looks at properties that every right answer has.
It returns a `Report`, or raises a `Mistake` that says what was seen, which mistake that is the mark of, and
where to read. It never compares with stored numbers, and leaves global seeds as they were.
"""

from vaebook.checks.base import Mistake, Report, Surprise
from vaebook.checks.draws import reparameterize, sample_prior, score_function, train_step
from vaebook.checks.formulas import (
    bernoulli_log_likelihood,
    elbo_loss,
    gaussian_log_likelihood,
    kl_to_standard_normal,
    log_mean_exp,
)
from vaebook.checks.prices import implied_beta, predict_doubled_pixels

__all__ = [
    "Mistake",
    "Report",
    "Surprise",
    "bernoulli_log_likelihood",
    "elbo_loss",
    "gaussian_log_likelihood",
    "implied_beta",
    "kl_to_standard_normal",
    "log_mean_exp",
    "predict_doubled_pixels",
    "reparameterize",
    "sample_prior",
    "score_function",
    "train_step",
]
