"""Checks of the sheet of chapter 4.3: the price that a loss puts on the KL."""

from torch import Tensor

from vaebook.checks.base import UNKNOWN, Exam, Option, Report, check, described, prediction
from vaebook.checks.places import COST, PRICE, REVENUE
from vaebook.densities import bernoulli_log_likelihood, kl_to_standard_normal


@check("loss", PRICE)
def implied_beta(exam: Exam) -> Report:
    """A function (loss) -> number: the price, in nats of reconstruction, that a loss puts on a nat of KL.

    loss(mu, log_var, logits, x) is somebody's loss for binary images, mu and log_var (batch, d), logits and x
    (batch, pixels): a times the reconstruction loss plus b times the KL, each a mean over images, plus a
    constant. The price is b / a.
    False alarms: none but by rounding.
    Checks: chapter 4.3.
    """
    for _ in range(4):
        a, b, constant = exam.rand(0.2, 5, 3).log().exp().tolist()
        sizes: list[tuple[int, ...]] = []

        def loss(mu, log_var, logits, x, a=a, b=b, constant=constant, sizes=sizes):
            sizes.append((*mu.shape, *x.shape))
            rebuild = -bernoulli_log_likelihood(logits, x).mean()
            return a * rebuild + b * kl_to_standard_normal(mu, log_var).mean() + constant

        out = exam.call(loss)[0]
        if isinstance(out, Tensor) and out.numel() == 1:
            out = out.item()
        if isinstance(out, bool) or not isinstance(out, int | float):
            exam.fail(f"your function returned {described(out)}", "a price is one number")
        seen = (
            f"for a loss that is {a:.3g} times the reconstruction loss plus {b:.3g} times the KL plus "
            f"{constant:.3g} your function returned {out:.4g}"
        )
        if not sizes:
            exam.fail(seen, "the loss was never called: what it does with its inputs tells its price")
        if not _near(out, b / a):
            for value, mark in (
                (a / b, "the other way round: nats of KL for a nat of reconstruction"),
                (b, "the weight of the KL alone: a price compares it with the weight of the reconstruction"),
                (a, "the weight of the reconstruction alone: the price is that of the KL, in its units"),
                (-b / a, "the sign: a loss counts minus the log-likelihood, and plus the KL"),
                (b * a, "the two weights are multiplied, where one is divided by the other"),
                (1.0, "the price of the ELBO: this loss has another"),
            ):
                if _near(out, value):
                    exam.fail(seen, mark)
            n, d, _, pixels = sizes[0]
            for value, mark in (
                (
                    b / a * pixels,
                    "the reconstruction is compared for one pixel, where it is a sum over all of them",
                ),
                (b / a / pixels, "the reconstruction is summed over pixels once too often"),
                (b / a * n, "one of the two parts is a sum over images, and the other a mean"),
                (b / a / n, "one of the two parts is a sum over images, and the other a mean"),
                (
                    b / a / d,
                    "the KL is compared for one latent dimension, where it is a sum over all of them",
                ),
                (b / a * d, "the KL is averaged over latent dimensions, where it is their sum"),
            ):
                if _near(out, value):
                    exam.fail(seen, mark)
            exam.fail(
                seen,
                f"{UNKNOWN}. Change one part and leave the other as it is: how much does the loss change, "
                "and how much did that part? A constant in the loss drops out of a difference, and not out "
                "of a ratio of values",
            )
    exam.hold("as a price it is right for four losses")


def _near(value: float, expected: float) -> bool:
    return abs(value - expected) < 1e-3 * abs(expected)


predict_doubled_pixels = prediction(
    "predict_doubled_pixels",
    "once twice",
    {
        "a": Option(
            "the KL stays",
            lambda once, twice: abs(twice / once - 1) < 0.01,
            "copies are thought to say nothing new. The likelihood takes every pixel for a measurement of "
            "its own, with noise of its own, so it counts a copy as evidence",
            REVENUE,
        ),
        "b": Option(
            "the KL grows, and does not double",
            lambda once, twice: 1.01 < twice / once < 1.99,
            "the posterior is expected to pay more for more pixels, which holds where the reconstruction is "
            "a sum; something else was measured",
            REVENUE,
        ),
        "c": Option(
            "the KL doubles",
            lambda once, twice: abs(twice / once - 2) < 0.01,
            "the KL is expected to grow like the reconstruction. It grows like the logarithm of the "
            "posterior's precision, apart from the move of its centre",
            COST,
        ),
        "d": Option(
            "the KL falls",
            lambda once, twice: twice / once < 0.99,
            "the KL is taken for the part that gives way when the reconstruction weighs more. It does not "
            "give way, it is spent: more revenue can be had, so more cost pays",
            PRICE,
        ),
    },
)
