"""Answers to the checks of `vaebook.checks.codes`."""

import math

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors
from torch.autograd.functional import jacobian
from torch.distributions import MultivariateNormal
from torch.func import jacfwd, vmap

from vaebook.checks.codes import knn, moved

# --- right answers ------------------------------------------------------------------------------------------


def wave(at, height=50.0, pitch=1000.0):
    return height * torch.sin(pitch * at)


def rearranged(encode, decode):
    """The map of chapter 2."""

    def new_encode(x):
        code = encode(x).double()
        first = code[:, :1] + wave(code[:, 1:2])
        second = code[:, 1:2] + wave(first)
        return torch.cat([first, second, code[:, 2:]], 1)

    def new_decode(code):
        first, second = code[:, :1], code[:, 1:2]
        second = second - wave(first)
        first = first - wave(second)
        return decode(torch.cat([first, second, code[:, 2:]], 1).float())

    return new_encode, new_decode


class Rearranged:
    """Odd columns are moved by a wave of the first, even ones by a wave of the second; all in float32."""

    def __init__(self, encode, decode):
        self.encode_, self.decode_ = encode, decode

    def move(self, code, sign):
        code = code.clone()
        for step in (0, 1)[::sign]:
            code[:, 1 - step :: 2] += sign * wave(code[:, step : step + 1], 9.0, 7.0)
        return code

    def encode(self, x):
        return self.move(self.encode_(x), 1)

    def decode(self, code):
        return self.decode_(self.move(code, -1))


def rearranged_class(encode, decode):
    made = Rearranged(encode, decode)
    return made.encode, made.decode


def rearranged_steps(encode, decode):
    """Strips of the space, a hundredth wide, are moved by as much as a random table says."""
    table = 200 * torch.rand(1000, generator=torch.Generator().manual_seed(7), dtype=torch.float64)

    def jump(at):
        return table.to(at.device)[(100 * at).floor().long() % 1000]

    def new_encode(x):
        c = encode(x).double()
        c = torch.cat([c[:, :1] + jump(c[:, -1:]), c[:, 1:]], 1)
        return torch.cat([c[:, :-1], c[:, -1:] + jump(c[:, :1])], 1)

    def new_decode(c):
        c = torch.cat([c[:, :-1], c[:, -1:] - jump(c[:, :1])], 1)
        return decode(torch.cat([c[:, :1] - jump(c[:, -1:]), c[:, 1:]], 1).float())

    return new_encode, new_decode


def knn_loops(codes, labels, k):
    right = 0
    for i in range(len(codes)):
        distance = ((codes - codes[i]) ** 2).sum(1)
        order = [j for j in distance.argsort().tolist() if j != i][:k]
        votes = [labels[j].item() for j in order]
        right += max(sorted(set(votes)), key=votes.count) == labels[i].item()
    return right / len(codes)


def knn_topk(codes, labels, k):
    nearest = torch.cdist(codes, codes).topk(k + 1, largest=False).indices[:, 1:]
    return (labels[nearest].mode(1).values == labels).float().mean()


def knn_sklearn(codes, labels, k):
    codes, labels = codes.cpu().numpy(), labels.cpu().numpy()
    nearest = NearestNeighbors(n_neighbors=k).fit(codes).kneighbors(return_distance=False)
    return np.mean([np.bincount(labels[row]).argmax() == y for row, y in zip(nearest, labels, strict=True)])


def draw_cholesky(codes, n):
    root = torch.linalg.cholesky(torch.cov(codes.T))
    return codes.mean(0) + torch.randn(n, codes.shape[1]).to(codes) @ root.T


def draw_distribution(codes, n):
    return MultivariateNormal(codes.mean(0), torch.cov(codes.T)).sample((n,))


def draw_eigen(codes, n, generator=None):
    centred = codes - codes.mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(codes))
    noise = torch.randn(n, codes.shape[1], generator=generator, dtype=codes.dtype)
    return codes.mean(0) + (noise * values.sqrt()) @ vectors.T


def draw_numpy(codes, n):
    mean, cov = codes.mean(0).numpy(), np.cov(codes.numpy(), rowvar=False)
    return torch.from_numpy(np.random.default_rng().multivariate_normal(mean, cov, size=n))


def draw_mixed(codes, n):
    """Sums of all deviations from the mean, with normal weights, have the covariance of the codes."""
    weights = torch.randn(n, len(codes), dtype=codes.dtype)
    return codes.mean(0) + weights @ (codes - codes.mean(0)) / math.sqrt(len(codes) - 1)


def after_rows(log_p, transform, codes):
    logs = [jacobian(transform, code).det().abs().log() for code in codes]
    return log_p(codes) - torch.stack(logs)


def after_slogdet(log_p, transform, codes):
    return log_p(codes) - torch.linalg.slogdet(vmap(jacfwd(transform))(codes)).logabsdet


def after_differences(log_p, transform, codes, h=1e-5):
    columns = [
        (transform(codes + h * e) - transform(codes - h * e)) / (2 * h)
        for e in torch.eye(codes.shape[1]).to(codes)
    ]
    return log_p(codes) - torch.stack(columns, 2).det().abs().log()


def after_one_sided(log_p, transform, codes):
    return one_sided(1e-5)(log_p, transform, codes)


def after_batch(log_p, transform, codes):
    all_pairs = jacobian(transform, codes)  # (n, d, n, d)
    rows = torch.arange(len(codes))
    return log_p(codes) - torch.linalg.svdvals(all_pairs[rows, :, rows]).log().sum(1)


RIGHT = {
    "rearranged": [rearranged, rearranged_class, rearranged_steps],
    "knn_accuracy": [knn, knn_loops, knn_topk, knn_sklearn],
    "sample_codes": [draw_cholesky, draw_distribution, draw_eigen, draw_numpy, draw_mixed],
    "log_density_after": [moved, after_rows, after_slogdet, after_differences, after_batch, after_one_sided],
}

# --- wrong answers ------------------------------------------------------------------------------------------


def mapped(forward, backward):
    """The answer that moves codes by `forward` and, before it decodes, by `backward`."""
    return lambda encode, decode: (lambda x: forward(encode(x)), lambda code: decode(backward(code)))


def turned(sign):
    def turn(code):
        first, second, *rest = code.unbind(1)
        return torch.stack([sign * second, -sign * first, *rest], 1)

    return turn


def sheared(sign):
    def shear(code):
        return torch.cat([code[:, :1] + sign * 2 * code[:, 1:2], code[:, 1:]], 1)

    return shear


def gentle(sign):
    def bend(code):
        return torch.cat([code[:, :1] + sign * wave(code[:, 1:2], 1.0, 1.0), code[:, 1:]], 1)

    return bend


def own_wave(code):
    return code + 5 * torch.sin(100 * code)


def two_waves(sign, order, height=50.0, pitch=1000.0, double=True):
    """Two steps, taken in the given order of columns."""

    def move(code):
        dtype = code.dtype
        code = code.double().clone() if double else code.clone()
        for i in order:
            code[:, i] += sign * wave(code[:, 1 - i], height, pitch)
        return code if sign > 0 else code.to(dtype).float()

    return move


def within_batch(encode, decode):
    kept = []

    def new_encode(x):
        order = torch.arange(len(x)).flip(0)
        kept[:] = [order]
        return encode(x)[order]

    return new_encode, lambda code: decode(code[kept[0].argsort()] if len(code) == len(kept[0]) else code)


def noisy(encode, decode):
    new_encode, new_decode = rearranged(encode, decode)
    return lambda x: new_encode(x) + 1e-9 * torch.rand(len(x), 1), new_decode


def in_place(encode, decode):
    def new_decode(code):
        code[:, 1] -= wave(code[:, 0])
        code[:, 0] -= wave(code[:, 1])
        return decode(code.float())

    return rearranged(encode, decode)[0], new_decode


def remembered(encode, decode):
    kept = []

    def new_encode(x):
        kept[:] = [encode(x)]
        return 1000 * torch.randn(kept[0].shape, generator=torch.Generator().manual_seed(0))

    return new_encode, lambda code: decode(kept[0])


def only_two(encode, decode):
    new_encode, new_decode = rearranged(encode, decode)
    return lambda x: new_encode(x)[:, :2], new_decode


def all_float32(encode, decode):
    new_encode, new_decode = rearranged(lambda x: encode(x), decode)

    def narrow(x):
        code = encode(x)
        first = code[:, :1] + wave(code[:, 1:2])
        return torch.cat([first, code[:, 1:2] + wave(first), code[:, 2:]], 1).float()

    return narrow, new_decode


def carried(encode, decode):
    return lambda x: x, lambda x: decode(encode(x))


def in_double(encode, decode):
    return mapped(two_waves(1, (0, 1)), lambda c: two_waves(-1, (1, 0))(c).double())(encode, decode)


def normal(root, mean=True):
    """Draws with a given factor of the covariance."""

    def draw(codes, n):
        noise = torch.randn(n, codes.shape[1], dtype=codes.dtype)
        return noise @ root(codes).T + (codes.mean(0) if mean else 0)

    return draw


def chol(codes):
    return torch.linalg.cholesky(torch.cov(codes.T))


def box(codes, n):
    low, high = codes.amin(0), codes.amax(0)
    return low + (high - low) * torch.rand(n, codes.shape[1], dtype=codes.dtype)


def picked(codes, n):
    return codes[torch.randint(len(codes), (n,))]


def picked_and_shrunk(codes, n):
    """Old codes with noise, of the right mean and covariance: two clusters still."""
    centred = picked(codes, n) - codes.mean(0)
    return codes.mean(0) + math.sqrt(0.9) * centred + math.sqrt(0.1) * normal(chol, mean=False)(codes, n)


def seeded(codes, n):
    torch.manual_seed(0)
    return draw_cholesky(codes, n)


def ignores_generator(codes, n, generator=None):
    return draw_cholesky(codes, n)


def rows_as_variables(codes, n):
    return MultivariateNormal(codes.mean(1), torch.cov(codes)).sample((n,))


def uncentred(codes):
    return torch.linalg.cholesky(codes.T @ codes / len(codes))


def voting(pick):
    """A vote among the neighbours that `pick` chooses of the distances."""

    def accuracy(codes, labels, k):
        nearest = pick(codes, k)
        return (labels[nearest].mode(1).values == labels).float().mean().item()

    return accuracy


def others(codes):
    return torch.cdist(codes, codes).fill_diagonal_(math.inf)


def neighbours(codes, labels, k):
    return labels[others(codes).argsort(1)[:, :k]]


def jac(transform, codes):
    return torch.stack([jacobian(transform, code) for code in codes])


def mean_label(codes, labels, k):
    return (neighbours(codes, labels, k).float().mean(1).round() == labels).float().mean().item()


def asks_gradient(p, t, c):
    return moved(p, t, c.requires_grad_(True)).detach()


def one_sided(h):
    def density(p, t, c):
        columns = [(t(c + h * e) - t(c)) / h for e in torch.eye(c.shape[1]).to(c)]
        return p(c) - torch.stack(columns, 2).det().abs().log()

    return density


def median_label(codes, labels, k):
    return (neighbours(codes, labels, k).median(1).values == labels).float().mean().item()


def after(term):
    return lambda p, t, c: p(c) - term(jac(t, c))


WRONG = {
    "rearranged": [
        (lambda encode, decode: (encode, decode), "the codes are as they were"),
        (mapped(lambda c: 2 * c, lambda c: c / 2), "leave every neighbour where it is"),
        (mapped(turned(1), turned(-1)), "leave every neighbour where it is"),
        (mapped(sheared(1), sheared(-1)), "a linear map"),
        (mapped(gentle(1), gentle(-1)), "bends too gently"),
        (mapped(own_wave, lambda c: c), "does not undo what was done"),
        (mapped(own_wave, lambda c: c - 5 * torch.sin(100 * c)), "by a wave of itself"),
        (mapped(lambda c: c, gentle(1)), "the codes are as they were, but"),
        (mapped(two_waves(1, (0, 1)), two_waves(-1, (0, 1))), "in the opposite order"),
        (mapped(two_waves(1, (0, 1), double=False), two_waves(-1, (1, 0), double=False)), "needs float64"),
        (all_float32, "needs float64"),
        (in_place, "it is changed in place"),
        (remembered, "something passes around the codes"),
        (only_two, "the others dropped"),
        (within_batch, "exchanged within a batch"),
        (noisy, "there are draws in it"),
        (carried, "as large as the image"),
        (in_double, "of another precision"),
        (lambda encode, decode: encode, "a new encode and a new decode"),
    ],
    "knn_accuracy": [
        (voting(lambda c, k: torch.cdist(c, c).argsort(1)[:, :k]), "among its own neighbours"),
        (voting(lambda c, k: torch.cdist(c, c).argsort(1)[:, 1:k]), "one neighbour too few"),
        (voting(lambda c, k: others(c).argsort(1)[:, : k + 1]), "one neighbour too many"),
        (voting(lambda c, k: others(c).argsort(1)[:, :1]), "k has no influence"),
        (voting(lambda c, k: torch.cdist(c, c).argsort(1, descending=True)[:, :k]), "sorted as if it were"),
        (voting(lambda c, k: torch.cdist(c, c).topk(k).indices), "sorted as if it were"),
        (
            voting(lambda c, k: (c @ c.T).fill_diagonal_(-math.inf).topk(k).indices),
            "codes with a large product",
        ),
        (
            voting(lambda c, k: torch.cdist(c, c, p=1).fill_diagonal_(9e9).argsort(1)[:, :k]),
            "absolute differences",
        ),
        (voting(lambda c, k: others(c[:, :1]).argsort(1)[:, :k]), "only the first number"),
        (lambda c, y, k: (neighbours(c, y, k) == y[:, None]).float().mean().item(), "and no vote"),
        (lambda c, y, k: (neighbours(c, y, k) == y[:, None]).any(1).float().mean().item(), "for a majority"),
        (lambda c, y, k: 1 - knn(c, y, k), "wrong guesses"),
        (lambda c, y, k: len(c) * knn(c, y, k), "a number of guesses"),
        (lambda c, y, k: 100 * knn(c, y, k), "percent"),
        (mean_label, "mean or median of the labels"),
        (median_label, "mean or median of the labels"),
        (lambda c, y, k: neighbours(c, y, k), "one number was asked for"),
    ],
    "sample_codes": [
        (normal(lambda c: c.std(0).diag()), "only the variances are used"),
        (normal(lambda c: c.std(0).sqrt().diag()), "standard deviations are used as variances"),
        (normal(lambda c: c.var(0).diag()), "variances are used as standard deviations"),
        (normal(lambda c: torch.cov(c.T)), "the covariance matrix itself multiplies"),
        (normal(lambda c: chol(c).T), "transposed"),
        (normal(lambda c: torch.linalg.cholesky(torch.corrcoef(c.T))), "correlations"),
        (normal(uncentred), "the mean is not taken off"),
        (normal(chol, mean=False), "the draws lie around 0"),
        (normal(lambda c: torch.eye(c.shape[1]).to(c)), "no influence on the spread"),
        (lambda c, n: torch.randn(n, c.shape[1]), "no influence on the spread"),
        (normal(lambda c: c.std() * torch.eye(c.shape[1]).to(c)), "one standard deviation for all"),
        (lambda c, n: c.mean(0) + c.std(0) * torch.randn(n, 1, dtype=c.dtype), "the same noise"),
        (lambda c, n: draw_cholesky(c, 1).expand(n, -1), "one draw is repeated"),
        (lambda c, n: picked(c, n) + normal(chol, mean=False)(c, n), "twice the covariance"),
        (picked_and_shrunk, "are not normal"),
        (picked, "old codes are picked again"),
        (box, "uniform in the box"),
        (
            lambda c, n: c.mean(0) + (torch.rand(n, len(c.T), dtype=c.dtype) - 0.5) * 12**0.5 @ chol(c).T,
            "not normal",
        ),
        (lambda c, n: draw_cholesky(c[:, :3], n), "only three numbers"),
        (lambda c, n: c.mean(0) + torch.randn(n, c.shape[1]) @ chol(c).T, "the codes are float64"),
        (rows_as_variables, "takes every row for a variable"),
        (lambda c, n: draw_cholesky(c, len(c)), "n has no influence"),
        (lambda c, n: draw_cholesky(c, 1)[0], "one code, and not n"),
        (seeded, "a seed is set"),
        (ignores_generator, "does not come from there"),
    ],
    "log_density_after": [
        (lambda p, t, c: p(c) + jac(t, c).det().abs().log(), "the sign of the second term"),
        (lambda p, t, c: p(c), "the density as it was"),
        (lambda p, t, c: p(t(c)), "the old density, asked at the new place"),
        (lambda p, t, c: p(t(c)) - jac(t, c).det().abs().log(), "asked at the new place"),
        (after(lambda j: j.det().abs()), "and not its logarithm"),
        (after(lambda j: j.det().log()), "may be negative"),
        (after(lambda j: j.diagonal(dim1=1, dim2=2).abs().log().sum(1)), "only the diagonal"),
        (after(lambda j: j.abs().log().sum((1, 2))), "all entries of the Jacobian"),
        (after(lambda j: j.diagonal(dim1=1, dim2=2).sum(1)), "the trace"),
        (after(lambda j: j[0].det().abs().log()), "one determinant for all codes"),
        (lambda p, t, c: p(c) - jac(t, t(c)).det().abs().log(), "taken at the new place"),
        (lambda p, t, c: moved(p, t, c).exp(), "and not its logarithm"),
        (lambda p, t, c: moved(p, t, c).mean(), "the mean over the images"),
        (after(lambda j: 0.5 * j.det().abs().log()), "the root of the determinant"),
        (one_sided(1e-3), "over steps that are too large"),
        (asks_gradient, "changes the caller's tensor"),
    ],
}
PREDICTED = {
    "predict_blank_density": [
        ("c", (0.95,), "as you expected, more than two in three"),
        ("a", (0.95,), "taken for the probability of its image"),
        ("b", (0.95,), "near the middle of the codes"),
        ("c", (0.5,), "something else was measured"),
    ]
}
