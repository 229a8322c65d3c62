"""Checks that say which mistake was made: `from vaebook import checks as check; check.log_mean_exp(mine)`.

Each takes your function, draws fresh random inputs, and looks at properties that every right answer has.
It returns a `Report`, or raises a `Mistake` that says what was seen, which mistake that is the mark of, and
where to read. It never compares with stored numbers, and leaves global seeds as they were.
"""

from vaebook.checks.autoencoders import (
    autoencoder,
    held_out_error,
    pca_error,
    pca_reconstruct,
    predict_shifted_digits,
    psnr,
    squared_error,
    train_epoch,
)
from vaebook.checks.base import Mistake, Report, Surprise
from vaebook.checks.bayes import (
    log_posterior_ratio,
    metropolis_step,
    posterior_by_counting,
    predict_two_humps,
    table_log_evidence,
    table_log_posterior,
)
from vaebook.checks.codes import (
    knn_accuracy,
    log_density_after,
    predict_blank_density,
    rearranged,
    sample_codes,
)
from vaebook.checks.draws import reparameterize, sample_prior, score_function, train_step
from vaebook.checks.evidence import (
    effective_sample_size,
    grid_log_evidence,
    importance_weighted_bound,
    predict_halved_noise,
)
from vaebook.checks.formulas import (
    bernoulli_log_likelihood,
    elbo_loss,
    gaussian_log_likelihood,
    kl_to_standard_normal,
    log_mean_exp,
)
from vaebook.checks.gap import (
    elbo_by_enumeration,
    fit_q,
    gap_by_enumeration,
    predict_single_estimates,
)
from vaebook.checks.gradients import (
    best_baseline,
    exact_gradient,
    leave_one_out,
    predict_narrow_region,
    predict_thousand_nats,
    reparameterized,
    surrogate,
)
from vaebook.checks.prices import implied_beta, predict_doubled_pixels
from vaebook.checks.regions import covariance_of_regions, predict_disagreement, vae_networks
from vaebook.checks.whole import quantile_grid, train_loop, trained_vae, vae

__all__ = [
    "Mistake",
    "Report",
    "Surprise",
    "autoencoder",
    "bernoulli_log_likelihood",
    "best_baseline",
    "covariance_of_regions",
    "effective_sample_size",
    "elbo_by_enumeration",
    "elbo_loss",
    "exact_gradient",
    "fit_q",
    "gap_by_enumeration",
    "gaussian_log_likelihood",
    "grid_log_evidence",
    "held_out_error",
    "implied_beta",
    "importance_weighted_bound",
    "kl_to_standard_normal",
    "knn_accuracy",
    "leave_one_out",
    "log_density_after",
    "log_mean_exp",
    "log_posterior_ratio",
    "metropolis_step",
    "pca_error",
    "pca_reconstruct",
    "posterior_by_counting",
    "predict_blank_density",
    "predict_disagreement",
    "predict_doubled_pixels",
    "predict_halved_noise",
    "predict_narrow_region",
    "predict_shifted_digits",
    "predict_single_estimates",
    "predict_thousand_nats",
    "predict_two_humps",
    "psnr",
    "quantile_grid",
    "rearranged",
    "reparameterize",
    "reparameterized",
    "sample_codes",
    "sample_prior",
    "score_function",
    "squared_error",
    "surrogate",
    "table_log_evidence",
    "table_log_posterior",
    "train_epoch",
    "train_loop",
    "train_step",
    "trained_vae",
    "vae",
    "vae_networks",
]
