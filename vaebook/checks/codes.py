"""Checks of the sheet of chapter 2: what the loss cannot see in codes, and what can be measured in them.

Verdicts on draws are by z-scores, wrong beyond 6 standard errors, and by Kolmogorov-Smirnov tests, wrong at
p < 1e-7.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal
from torch.func import jacrev, vmap

from vaebook.checks.autoencoders import SEED, near, number_values, one_number
from vaebook.checks.base import (
    UNKNOWN,
    Exam,
    Mark,
    Option,
    Report,
    check,
    close,
    numbers,
    p_normal,
    prediction,
)
from vaebook.checks.draws import FAR, dependence, z_scores
from vaebook.checks.places import BLIND, DENSITY, MEANING, PLACES, VOTE

# --- another arrangement of the codes -----------------------------------------------------------------------


def _nearest(points: Tensor, k: int = 10) -> Tensor:
    """(n, n) booleans: which are the k nearest others of each point."""
    distance = torch.cdist(points, points).fill_diagonal_(torch.inf)
    return torch.zeros_like(distance, dtype=torch.bool).scatter_(1, distance.argsort(1)[:, :k], True)


@check(
    "encode decode",
    BLIND,
    raised=[
        (
            "same dtype|expected scalar type|same data type",
            "decode is handed codes of another precision than those that encode gave: turn them back",
        )
    ],
)
def rearranged(exam: Exam) -> Report:
    """A function (encode, decode) -> (new encode, new decode): equal reconstructions, scattered codes.

    encode makes codes (batch, k) of images (batch, pixels), decode images of codes, both in float32; the
    numbers of a code are of the size 1 to 10, and k is 2 or more. The new codes have the same shape, come
    from the codes one by one, and keep less than a third of the ten nearest neighbours. Reconstructions may
    differ by a thousandth.
    False alarms: none but by rounding.
    Checks: chapter 2.
    """
    for k in (2, 3, 8):
        pixels, n = exam.integer(15, 20), 300
        into, back = exam.randn(pixels, k).float() / 2, exam.randn(k, pixels).float() / 2
        middle = 2 * exam.randn(k).float()

        def encode(x, into=into, middle=middle):
            return x @ into + middle

        def decode(code, back=back):
            return (code @ back).sigmoid()

        x = exam.randn(n, pixels).float()
        codes = encode(x)
        new_encode, new_decode = _two_functions(exam, encode, decode)
        shapes = {
            (n, pixels): "a code as large as the image",
            (pixels, k): "rows and columns are exchanged",
            (n, 2 + (k == 2)): "two numbers of a code are moved, and the others dropped",
        }
        new = exam.tensor(_ask(exam, new_encode, x, "encode"), (n, k), shapes)
        if not new.isfinite().all():
            exam.fail("codes that are not finite", "nothing can be undone from there")
        if not torch.equal(_ask(exam, new_encode, x, "encode"), new):
            exam.fail(
                "the new encode gave two codes for one image", "there are draws in it: one map is asked for"
            )
        rebuilt = exam.tensor(_ask(exam, new_decode, new, "decode"), (n, pixels), {})
        _by_itself(exam, new_encode, new_decode, x, new, rebuilt)
        off = (rebuilt - decode(codes)).abs().max().item()
        if not off < 1e-3:
            _not_undone(exam, encode, decode, x, new, rebuilt, off)
        _scattered(exam, codes, new)
    for name in ("same reconstructions", "each code by itself", "scattered neighbours"):
        exam.hold(name)


def _two_functions(exam: Exam, encode: Callable, decode: Callable) -> tuple[Callable, Callable]:
    out = exam.call(encode, decode)[0]
    if not isinstance(out, tuple | list) or len(out) != 2 or not all(map(callable, out)):
        exam.fail(
            "your function returned no pair of functions", "a new encode and a new decode are asked for"
        )
    return out[0], out[1]


def _ask(exam: Exam, function: Callable, given: Tensor, name: str) -> Tensor:
    handed = given.clone()
    out = exam.guarded(function, (handed,), f"when the new {name} was given {tuple(given.shape)}")
    if not torch.equal(handed, given):
        exam.fail(
            f"after the new {name} the tensor that it was given was no longer what it was before",
            "it is changed in place, and so is the caller's: += and methods with a name ending in _ do that, "
            "and .double() copies nothing where numbers are float64 already",
        )
    return out


def _by_itself(
    exam: Exam, new_encode: Callable, new_decode: Callable, x: Tensor, new: Tensor, rebuilt: Tensor
) -> None:
    for rows in (slice(0, 1), slice(3, 8)):
        alone = exam.tensor(_ask(exam, new_encode, x[rows], "encode"), tuple(new[rows].shape), {})
        if not close(_ask(exam, new_decode, alone, "decode"), rebuilt[rows]) or not (
            close(_ask(exam, new_decode, new[rows], "decode"), rebuilt[rows])
        ):
            exam.fail(
                f"of {len(x)} images and of {len(alone)} of them alone the same codes, or reconstructions, "
                "do not come back",
                "the codes are exchanged within a batch: a map of the code space moves every code by itself",
            )
    if not close(_ask(exam, new_decode, new, "decode"), rebuilt):
        exam.fail(
            "the same codes gave other images after other images had been encoded",
            "something passes around the codes: the new decode may know nothing of an image but its code",
        )


def _not_undone(
    exam: Exam, encode: Callable, decode: Callable, x: Tensor, new: Tensor, rebuilt: Tensor, off: float
) -> None:
    seen = f"a pixel of a reconstruction changed by {off:.2g}"
    codes, handed = encode(x), []
    if close(new, codes):
        exam.fail(seen, "the codes are as they were, but the new decode does something to them")
    if close(rebuilt, decode(new.float())):
        exam.fail(
            seen, "the new decode does not undo what was done to the codes: it decodes them as they are"
        )

    def noting(code: Tensor) -> Tensor:
        handed[:] = [code]
        return decode(code)

    again = _two_functions(exam, encode, noting)
    _ask(exam, again[1], _ask(exam, again[0], x, "encode"), "decode")
    missed, way = (handed[0] - codes).abs().max(), (new - codes).abs().max()
    if new.dtype == torch.float32 and missed < 0.05 * way:
        exam.fail(
            f"{seen}: codes were moved by up to {way:.3g}, and came back to within {missed:.1g}",
            "rounding: waves that are high and fast magnify rounding errors, and float32 has seven digits "
            "only: such a map needs float64",
        )
    if new.shape[1] > 2:
        exam.fail(
            f"{seen}; with two numbers in a code all was right, with {new.shape[1]} it is not",
            "either not all numbers are put back, or each step magnifies the rounding errors of the one "
            "before: two steps are enough to tear neighbours apart",
        )
    exam.fail(
        seen,
        "what the new encode does is not undone. Either two codes land on one point, as they may if a number "
        "is moved by a wave of itself, or the steps are not taken back in the opposite order",
    )


def _scattered(exam: Exam, codes: Tensor, new: Tensor) -> None:
    new = new.detach().double().cpu()
    codes = codes.double().cpu()
    kept = (_nearest(codes) & _nearest(new)).double().sum().item() / (10 * len(codes))
    if kept < 1 / 3:
        return
    seen = f"{kept:.0%} of the ten nearest neighbours of a code are still its neighbours"
    if close(codes, new):
        exam.fail(seen, "the codes are as they were")
    ratio = torch.cdist(new, new)[0, 1:] / torch.cdist(codes, codes)[0, 1:]
    if ratio.std() < 1e-3 * ratio.mean():
        exam.fail(seen, "shifting, turning, mirroring and scaling leave every neighbour where it is")
    affine = torch.cat([codes, torch.ones(len(codes), 1, dtype=codes.dtype)], 1)
    left = new - affine @ torch.linalg.lstsq(affine, new).solution
    if left.norm() < 1e-3 * new.norm():
        exam.fail(
            seen, "a linear map: lines stay lines, and near points stay near. A map must fold to tear apart"
        )
    exam.fail(
        seen, "the map bends too gently, or is too slow: near codes are moved by nearly the same amount"
    )


# --- the vote of the neighbours -----------------------------------------------------------------------------


def _votes(codes: Tensor, labels: Tensor, k: int, how: str = "euclid", own: bool = False, last: bool = False):
    """(n, k): the labels of the k nearest others (the furthest, if `last`); `own`: a code is its own."""
    if how == "euclid":
        distance = torch.cdist(codes, codes)
    elif how == "manhattan":
        distance = torch.cdist(codes, codes, p=1)
    elif how == "first":
        distance = (codes[:, None, 0] - codes[None, :, 0]).abs()
    else:
        unit = torch.nn.functional.normalize(codes, dim=1) if how == "cosine" else codes
        distance = -unit @ unit.T
    if not own:
        distance.fill_diagonal_(-torch.inf if last else torch.inf)
    return labels[distance.argsort(1, descending=last)[:, :k]]


def _share(**options) -> Callable[..., float]:
    def accuracy(codes: Tensor, labels: Tensor, k: int) -> float:
        winners = _votes(codes, labels, k, **options).mode(1).values
        return (winners == labels).double().mean().item()

    return accuracy


knn = _share()


def _agreement(reduce: str) -> Callable[..., float]:
    def share(codes: Tensor, labels: Tensor, k: int) -> float:
        same = _votes(codes, labels, k) == labels[:, None]
        return getattr(same, reduce)(1).double().mean().item()

    return share


OWN = "each code is counted among its own neighbours: the question contains its answer"
KNN_MARKS = [
    Mark(OWN, _share(own=True)),
    Mark(
        "one neighbour too few: a code is left out of its own neighbours, but its place is not filled",
        lambda c, y, k: knn(c, y, k - 1) if k > 1 else 0.0,
    ),
    Mark("one neighbour too many", lambda c, y, k: knn(c, y, k + 1)),
    Mark("only the nearest one is asked: k has no influence", lambda c, y, k: knn(c, y, 1)),
    Mark(
        "only the k-th neighbour is asked",
        lambda c, y, k: (_votes(c, y, k)[:, -1] == y).double().mean().item(),
    ),
    Mark("the furthest codes vote: a distance is sorted as if it were a similarity", _share(last=True)),
    Mark(
        "codes with a large product vote: that is a similarity of directions, and no distance",
        _share(how="dot"),
    ),
    Mark(
        "codes with a large product vote, a code itself among them: that is no distance",
        _share(how="dot", own=True),
    ),
    Mark("codes in the same direction vote (cosine): that is no distance", _share(how="cosine")),
    Mark(
        "codes in the same direction vote (cosine), a code itself among them", _share(how="cosine", own=True)
    ),
    Mark("distances are sums of absolute differences", _share(how="manhattan")),
    Mark("only the first number of a code is used", _share(how="first")),
    Mark(
        "the mean share of neighbours with the same label, and no vote",
        lambda c, y, k: (_votes(c, y, k) == y[:, None]).double().mean().item(),
    ),
    Mark("one neighbour with the right label is taken for a majority", _agreement("any")),
    Mark("all neighbours must agree, where a majority is enough", _agreement("all")),
    Mark("the share of wrong guesses, and not of right ones", lambda c, y, k: 1 - knn(c, y, k)),
    Mark("a number of guesses, and not a share", lambda c, y, k: len(c) * knn(c, y, k)),
    Mark("percent, and not a share", lambda c, y, k: 100 * knn(c, y, k)),
]


@check("codes labels k", MEANING, seconds=20)
def knn_accuracy(exam: Exam) -> Report:
    """A function (codes, labels, k) -> the share of codes whose k nearest other codes vote for its label.

    codes (n, d), labels (n,) whole numbers; near is by Euclidean distance. Where several labels have most
    votes, any of them may win.
    False alarms: none but by rounding.
    Checks: chapters 1 and 2.
    """

    def clusters(n: int, d: int, classes: int) -> tuple[Tensor, Tensor]:
        labels = torch.randint(classes, (n,), generator=exam.generator).to(exam.device)
        # The clusters overlap: where all guesses are right, so are those of wrong rules.
        middles = 0.5 * exam.randn(classes, d) + 1.5
        return middles[labels] + exam.randn(n, d), labels

    cases = [
        (*clusters(*size, 2), k) for size, k in (((90, 2), 5), ((120, 5), 3), ((120, 6), 9), ((90, 3), 3))
    ]
    cases = [
        (codes * (1.0 + torch.arange(codes.shape[1]).to(codes)), labels, k) for codes, labels, k in cases
    ]
    codes, labels, k = cases[-1]
    round_about = codes / codes.norm(dim=1, keepdim=True)  # each has its largest product with itself
    cases.append((round_about, labels, k))
    number_values(exam, cases, knn, KNN_MARKS, "share")  # two labels and an odd k: without ties
    # So mixed, the median label is seldom the most frequent.
    weights = torch.tensor([0, 0, 0, 0, 1, 2, 2, 3, 3])
    mixed = weights[torch.randint(9, (300,), generator=exam.generator)].to(exam.device)
    of_four = [(*clusters(150, 2, 4), k) for k in (1, 5, 7)]
    for codes, labels, k in (*of_four, (exam.randn(300, 2), mixed, 15)):
        labels = labels * (labels + 1) // 2  # 0, 1, 3 and 6: a mean of labels is no label
        out = one_number(exam, exam.call(codes, labels, k)[0], "one number was asked for, the share")
        count = torch.nn.functional.one_hot(_votes(codes, labels, k), 7).sum(1)  # (n, classes)
        most = count == count.amax(1, keepdim=True)
        mine = most.gather(1, labels[:, None])[:, 0]
        low, high = (mine & (most.sum(1) == 1)).double().mean().item(), mine.double().mean().item()
        if not low - 1e-6 <= out <= high + 1e-6:
            exam.fail(
                f"with four labels and {k} of the neighbours your share is {out:.4g}, where it lies between "
                f"{low:.4g} and {high:.4g}, as ties are broken",
                "it is right for the labels 0 and 1: with more, the label with most votes wins, and not the "
                "mean or median of the labels, nor only one with more than half of the votes",
                VOTE,
            )
    exam.hold("more than two labels")


# --- draws from a normal distribution of codes --------------------------------------------------------------


@check(
    "codes n",
    DENSITY,
    raised=[
        (
            "positive.definite|constraint Posi|leading minor",
            "that is no covariance matrix of the numbers of a code: torch.cov takes every row for a variable",
        ),
        ("same dtype|expected scalar type", "the codes are float64, and what meets them here is not"),
    ],
)
def sample_codes(exam: Exam) -> Report:
    """A function (codes, n) -> (n, d) draws of the normal distribution with the mean and covariance of codes.

    codes (m, d) are float64. A parameter named `generator`, if there is one, decides the draw.
    False alarms: fewer than one call in 100,000.
    Checks: chapter 2.
    """
    m, d, n = exam.integer(150, 250), exam.integer(4, 5), 20_000
    sizes = torch.logspace(-0.5, 0.5, d).to(exam.device, exam.dtype)
    mix = torch.eye(d).to(sizes) + exam.rand(0.5, 0.9, d, d).tril(-1)
    parts = exam.randn(m, d)
    parts[:, 0] = 0.4 * parts[:, 0] + 0.9 * parts[:, 0].sign()  # two clusters: the codes are not normal
    codes = parts @ mix.T * sizes + 2 * exam.rand(1, 2, d) * sizes

    def draw(**options: torch.Generator) -> Tensor:
        shapes = {
            (d,): "one code, and not n",
            (m, d): "as many draws as there are codes: n has no influence",
            (d, n): "rows and columns are exchanged",
            (n, 2): "only two numbers of a code are drawn",
            (n, 3): "only three numbers of a code are drawn",
            (n, m): "every code is taken for a dimension: the covariance is that of the columns",
        }
        out = exam.tensor(exam.call(codes, n, **options)[0], (n, d), shapes).detach()
        if not out.isfinite().all():
            exam.fail("draws that are not finite", UNKNOWN + "; a root or a logarithm of something negative?")
        return out.to(exam.dtype)

    out = draw()
    if torch.equal(draw(), out):
        exam.fail("two calls made the same draws", SEED)
    mean, cov = codes.mean(0), torch.cov(codes.T)
    _law(exam, out, codes, mean, cov)
    if exam.takes_generator:
        a, b, c = (draw(generator=torch.Generator(exam.device).manual_seed(seed)) for seed in (1, 1, 2))
        if not torch.equal(a, b) or torch.equal(a, c):
            exam.fail(
                "two generators with the same seed gave different draws, or two seeds the same",
                "the function has a parameter `generator`, but its noise does not come from there",
            )
        exam.hold("generator")
    few = exam.call(codes, 1)[0]
    exam.tensor(few, (1, d), {(d,): "with one draw the batch disappears"})


def _law(exam: Exam, out: Tensor, codes: Tensor, mean: Tensor, cov: Tensor) -> None:
    n, d = out.shape
    if torch.cdist(out[:200], codes).amin(1).max() < 1e-4:
        exam.fail("every draw is one of the codes", "old codes are picked again: nothing new is drawn")
    if close(out, out[:1].expand_as(out)):
        exam.fail(f"all {n} draws are the same, {numbers(out[0])}", "one draw is repeated")
    root = torch.linalg.cholesky(cov)
    unit = torch.linalg.solve_triangular(root, (out - mean).T, upper=False).T  # N(0, I) if all is right
    drawn = torch.cov(out.T)
    # The variance of a product of two normal variables, from which an estimated covariance is made.
    error = ((cov.diag()[:, None] * cov.diag() + cov.square()) / n).sqrt()
    off = (drawn - cov).abs() / error
    scale = (codes.shape[0] - 1) / codes.shape[0]  # a covariance over m is as good as one over m − 1
    if off.max() > FAR and ((drawn - scale * cov).abs() / error).max() > FAR:
        _covariance(exam, out, codes, mean, cov, drawn)
    if z_scores(out, mean).abs().max() > FAR:
        seen = f"the means of the draws are {numbers(out.mean(0))}, those of the codes {numbers(mean)}"
        if z_scores(out, 0).abs().max() < FAR:
            exam.fail(seen, "the mean of the codes is not added: the draws lie around 0")
        exam.fail(seen, UNKNOWN)
    exam.hold("mean")
    exam.hold("covariance")
    p = min(p_normal(column) for column in unit.T.cpu().numpy())
    if p < 1e-7:
        exam.fail(
            f"mean and covariance are right, but the draws lie between {numbers(out.amin(0))} and "
            f"{numbers(out.amax(0))} and are not normal",
            "uniform noise, old codes with something added, or a mixture: a normal distribution is asked for",
        )
    if (score := dependence(unit)) > FAR:
        exam.fail(
            f"neighbouring draws are correlated: {score:.0f} standard errors from 0", "noise is used twice"
        )
    exam.hold("law")


def _covariance(exam: Exam, out: Tensor, codes: Tensor, mean: Tensor, cov: Tensor, drawn: Tensor) -> None:
    root, std = torch.linalg.cholesky(cov), cov.diag().sqrt()
    seen = f"variances {numbers(drawn.diag())}, where those of the codes are {numbers(cov.diag())}"
    between = f"covariances {numbers(_pairs(drawn))}, where those of the codes are {numbers(_pairs(cov))}"
    low, high = codes.amin(0), codes.amax(0)
    inside = ((out >= low) & (out <= high)).all()
    if inside and out.amin(0).sub(low).max() < 0.01 * (high - low).max():
        exam.fail(
            f"{seen}; all draws lie inside the box of the codes",
            "the draws are uniform in the box that holds the codes, and no normal distribution is fitted",
            PLACES,
        )
    raw, eye = codes.T @ codes / len(codes), torch.eye(len(cov)).to(cov)
    for mark, makes in (
        (
            "only the variances are used: numbers of a code that go together are drawn apart",
            cov.diag().diag(),
        ),
        ("the standard deviations are used as variances", std.diag()),
        ("the variances are used as standard deviations", cov.diag().square().diag()),
        ("standard normal draws: the codes have no influence on the spread", eye),
        (
            "the covariance matrix itself multiplies the noise: it should be the covariance of the result, "
            "and noise times a matrix has another",
            cov @ cov,
        ),
        (
            "the triangular factor is transposed, or stands on the wrong side: rows of noise times L have "
            "the covariance L'L, and not LL'",
            root.T @ root,
        ),
        ("the covariance is that of codes scaled to variance 1 (correlations)", cov / std / std[:, None]),
        ("the mean is not taken off before the products are averaged", raw),
        ("one standard deviation for all numbers of a code", codes.var() * eye),
        ("the same noise goes into all numbers of a code", std[:, None] * std),
        ("the draws have no spread", 0 * cov),
        ("twice the covariance: old codes, with noise added", 2 * cov),
        ("the factor is that of the inverse of the covariance (a precision)", torch.linalg.inv(cov)),
    ):
        size = makes.diag().clamp_min(1e-9).sqrt()
        if ((drawn - makes).abs() < 0.06 * size * size[:, None] + 1e-6).all():
            exam.fail(between if close(makes.diag(), cov.diag()) else seen, mark)
    exam.fail(f"{seen}; {between}", UNKNOWN)


def _pairs(matrix: Tensor) -> Tensor:
    """The entries below the diagonal."""
    rows, columns = torch.tril_indices(*matrix.shape, offset=-1)
    return matrix[rows, columns]


# --- a density after the codes are moved --------------------------------------------------------------------


def _jacobians(transform: Callable, codes: Tensor) -> Tensor:
    return vmap(jacrev(transform))(codes)  # (n, d, d)


def moved(log_p: Callable, transform: Callable, codes: Tensor) -> Tensor:
    return log_p(codes) - _jacobians(transform, codes).det().abs().log()


def _det(log_p: Callable, transform: Callable, codes: Tensor) -> Tensor:
    return _jacobians(transform, codes).det()


def _diagonal(transform: Callable, codes: Tensor) -> Tensor:
    return _jacobians(transform, codes).diagonal(dim1=1, dim2=2)


def _differences(h: float) -> Callable[..., Tensor]:
    def after(log_p: Callable, transform: Callable, codes: Tensor) -> Tensor:
        steps = h * torch.eye(codes.shape[1]).to(codes)
        columns = [(transform(codes + step) - transform(codes)) / h for step in steps]
        return log_p(codes) - torch.stack(columns, 2).det().abs().log()

    return after


STRETCH = "where the map stretches the space, the same probability spreads over more room"
MOVED_MARKS = [
    Mark(f"the sign of the second term: {STRETCH}", lambda p, t, c: p(c) + _det(p, t, c).abs().log()),
    Mark("the density as it was: " + STRETCH, lambda p, t, c: p(c)),
    Mark("the old density, asked at the new place", lambda p, t, c: p(t(c))),
    Mark(
        "the old density is asked at the new place; it belongs to the old one",
        lambda p, t, c: p(t(c)) - _det(p, t, c).abs().log(),
    ),
    Mark(
        "the old density is asked at the new place; it belongs to the old one",
        lambda p, t, c: p(t(c)) + _det(p, t, c).abs().log(),
    ),
    Mark("the determinant itself is subtracted, and not its logarithm", lambda p, t, c: p(c) - _det(p, t, c)),
    Mark(
        "the determinant itself is subtracted, and not its logarithm",
        lambda p, t, c: p(c) - _det(p, t, c).abs(),
    ),
    Mark(
        "a determinant may be negative, where the map mirrors: room is its absolute value",
        lambda p, t, c: p(c) - _det(p, t, c).log(),
    ),
    Mark(
        "only the diagonal of the Jacobian is used: the numbers of a code may move each other",
        lambda p, t, c: p(c) - _diagonal(t, c).abs().log().sum(1),
    ),
    Mark(
        "the trace of the Jacobian is used, and not its determinant",
        lambda p, t, c: p(c) - _diagonal(t, c).sum(1),
    ),
    Mark(
        "the logarithms of all entries of the Jacobian are summed, which is no determinant",
        lambda p, t, c: p(c) - _jacobians(t, c).abs().log().sum((1, 2)),
    ),
    Mark(
        "the Jacobian is taken at the new place, and not at the old one",
        lambda p, t, c: p(c) - _det(p, t, t(c)).abs().log(),
    ),
    Mark(
        "one determinant for all codes: the map may stretch more in one place than in another",
        lambda p, t, c: p(c) - _det(p, t, c)[0].abs().log(),
    ),
    Mark(
        "the mean of the logarithms: each code has a determinant of its own",
        lambda p, t, c: p(c) - _det(p, t, c).abs().log().mean(),
    ),
    Mark("the density, and not its logarithm", lambda p, t, c: moved(p, t, c).exp()),
    Mark("the term alone, without the old density", lambda p, t, c: -_det(p, t, c).abs().log()),
    Mark("the root of the determinant is used", lambda p, t, c: p(c) - 0.5 * _det(p, t, c).abs().log()),
    *(
        Mark("the derivative is taken by differences, over steps that are too large for it", _differences(h))
        for h in (0.1, 0.01, 1e-3)
    ),
]


@check("log_p transform codes", DENSITY)
def log_density_after(exam: Exam) -> Report:
    """A function (log_p, transform, codes) -> (n,): the log density of moved codes, where they come to lie.

    log_p(codes) gives the log density (n,) of codes (n, d); transform is invertible and smooth and takes
    codes (n, d), or one code (d,), to codes of that shape.
    False alarms: none but by rounding (and none for derivatives by differences over small steps).
    Checks: chapter 2.
    """
    d, n = exam.integer(2, 4), exam.integer(6, 9)

    def density() -> Callable:
        root = exam.randn(d, d) / 2
        law = MultivariateNormal(
            exam.randn(d), root @ root.T + 0.3 * torch.eye(d).to(root), validate_args=False
        )
        return law.log_prob

    def mixing() -> Tensor:
        turn = torch.linalg.qr(exam.randn(d, d)).Q
        turn[:, 0] *= -turn.det().sign()  # it mirrors
        return exam.rand(0.5, 2.0, d) * turn

    matrix, shift = mixing(), exam.randn(d)

    def linear(code):
        return code @ matrix.T + shift

    def bend(code):
        return code + code**3

    def shear(code):
        first = code[..., :1] * (1.5 + code[..., 1:].tanh().mean(-1, keepdim=True))
        return torch.cat([first, code[..., 1:]], -1)

    def both(code):
        return bend(linear(code)) / 3

    cases = [(density(), transform, exam.randn(n, d)) for transform in (linear, shear, both, bend)]
    exam.values(
        cases,
        moved,
        MOVED_MARKS,
        lambda log_p, transform, codes: {
            (n, d): "one number for each number of a code: a code has one density",
            (n, d, d): "these are Jacobians, and no densities",
            (n, n): "(n,) and (n, 1), or every code with every other, were broadcast to (n, n)",
            (): "one number for all codes: every code has a density of its own",
            (n, 1): "an axis of length 1 is left over",
        },
        "log density",
        probes=[
            (
                "it is right for a map that leaves everything in place",
                lambda p, t, c: (p, lambda c: 1 * c, c),
            ),
            (
                "it is right for a map that stretches everything alike",
                lambda p, t, c: (p, lambda c: 2 * c, c),
            ),
        ],
    )
    log_p, transform, codes = cases[2]
    out, (_, _, given) = exam.call(log_p, transform, codes[:1])
    if given.requires_grad:
        exam.fail(
            "after the call the codes ask for a gradient, which they did not before",
            "requires_grad_() changes the caller's tensor: a copy may be changed",
        )
    one = exam.tensor(out, (1,), {(): "with one code the axis disappears"})
    if not near(one.item(), moved(log_p, transform, codes[:1]).item()):
        exam.fail("with one code alone it is another density", "codes influence each other")
    exam.properties[:] = ["maps that mix the numbers", "maps that bend", "maps that mirror"]


predict_blank_density = prediction(
    "predict_blank_density",
    "share",
    {
        "a": Option(
            "fewer than one in ten test digits have a lower density than the blank image",
            lambda share: 0 <= share < 0.1,
            "the density of a code is taken for the probability of its image: nothing like a blank image was "
            "ever seen. But the encoder gives any image a code, and a code may lie among those of digits",
            DENSITY,
        ),
        "b": Option(
            "between one in ten and two in three test digits have a lower density",
            lambda share: 0.1 <= share <= 2 / 3,
            "an image that was never seen is expected to get a code like any other. This one lies near the "
            "middle of the codes, where their normal distribution is densest, though few codes are there",
            DENSITY,
        ),
        "c": Option(
            "more than two in three test digits have a lower density",
            lambda share: 2 / 3 < share <= 1,
            "a normal distribution is densest in its middle, and images with little ink are expected to have "
            "their codes there; something else was measured",
            PLACES,
        ),
    },
)
