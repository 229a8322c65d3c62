"""Answers to the checks of `vaebook.checks.autoencoders`."""

import copy
import math

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import nn
from torch.nn import functional as F

from vaebook import evaluation, models, training
from vaebook.checks.autoencoders import pca

# --- right answers ------------------------------------------------------------------------------------------


def error_loops(x_hat, x):
    rows = []
    for a, b in zip(x_hat, x, strict=True):
        rows.append(sum((p - q) ** 2 for p, q in zip(a, b, strict=True)))
    return torch.stack(rows)


def psnr_by_hand(x_hat, x):
    rmse = ((x_hat - x) ** 2).mean(dim=1).sqrt()
    return 20 * torch.log10(1 / rmse)


def layers(*widths, end=None, bend=nn.ReLU):
    made = []
    for a, b in zip(widths[:-1], widths[1:], strict=True):
        made += [nn.Linear(a, b), bend()]
    return nn.Sequential(*made[:-1], *([end] if end else []))


def pair(x_dim, code_dim, end=None, bend=nn.ReLU):
    return layers(x_dim, 16, code_dim, bend=bend), layers(
        code_dim, 16, x_dim, end=end or nn.Sigmoid(), bend=bend
    )


class Encoder(nn.Module):
    def __init__(self, x_dim, code_dim):
        super().__init__()
        self.one, self.two = nn.Linear(x_dim, 20), nn.Linear(20, code_dim)

    def forward(self, x):
        return self.two(F.leaky_relu(self.one(x)))


class Decoder(Encoder):
    def forward(self, code):
        return (1 + torch.tanh(super().forward(code))) / 2


class Tied(nn.Module):
    """A decoder that uses the weights of its encoder, turned round."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
        self.biases = nn.ParameterList(
            [nn.Parameter(0.1 * torch.randn(n.in_features)) for n in (encoder.one, encoder.two)]
        )

    def forward(self, code):
        hidden = F.relu(code @ self.encoder.two.weight + self.biases[1])
        return torch.sigmoid(hidden @ self.encoder.one.weight + self.biases[0])


def normed(x_dim, code_dim):
    encoder = nn.Sequential(nn.Linear(x_dim, 16), nn.LayerNorm(16), nn.Tanh(), nn.Linear(16, code_dim))
    return encoder, Decoder(code_dim, x_dim)


def tied(x_dim, code_dim):
    encoder = Encoder(x_dim, code_dim)
    return encoder, Tied(encoder)


def from_the_book(x_dim, code_dim):
    model = models.Autoencoder(x_dim, code_dim, (24, 12))
    return model.encoder, nn.Sequential(model.decoder, nn.Sigmoid())


def batches(x, batch_size, generator):
    return torch.randperm(len(x), generator=generator, device=x.device).split(batch_size)


def epoch(model, x, optimizer, batch_size, generator):
    total = 0.0
    for rows in batches(x, batch_size, generator):
        loss = (model(x[rows]) - x[rows]).square().sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(rows)
    return total / len(x)


def epoch_loader(model, x, optimizer, batch_size, generator):
    loader = torch.utils.data.DataLoader(x, batch_size, shuffle=True, generator=generator)
    errors = []
    for batch in loader:
        optimizer.zero_grad()
        each = F.mse_loss(model(batch), batch, reduction="none").sum(dim=1)
        (each.sum() / len(batch)).backward()
        optimizer.step()
        errors.append(each.detach())
    return torch.cat(errors).mean()


def epoch_image_by_image(model, x, optimizer, batch_size, generator):
    model.train()
    order, seen = torch.randperm(len(x), generator=generator).tolist(), []
    for start in range(0, len(x), batch_size):
        rows = order[start : start + batch_size]
        losses = [((model(x[i]) - x[i]) ** 2).sum() for i in rows]
        loss = sum(losses) / len(rows)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        seen += [one.item() for one in losses]
    return np.mean(seen)


def epoch_closure(model, x, optimizer, batch_size, generator):
    total = 0.0
    for rows in batches(x, batch_size, generator):

        def closure(rows=rows):
            optimizer.zero_grad()
            loss = (model(x[rows]) - x[rows]).square().sum(1).mean()
            loss.backward()
            return loss

        total += optimizer.step(closure).item() * len(rows)
    return total / len(x)


def look(model, x):
    was = model.training
    model.eval()
    with torch.no_grad():
        value = models.squared_error(model(x), x).mean().item()
    model.train(was)
    return value


@torch.inference_mode()
def look_in_parts(model, x):
    before = model.training
    try:
        model.eval()
        return torch.cat([((model(part) - part) ** 2).sum(1) for part in x.split(3)]).mean()
    finally:
        model.train(before)


def look_at_a_copy(model, x):
    twin = copy.deepcopy(model).eval()
    with torch.inference_mode():
        return (twin(x) - x).square().sum(1).mean()


def look_summed(model, x):
    mode, total = model.training, 0.0
    model.train(False)
    with torch.no_grad():
        for row in x:
            total += float(F.mse_loss(model(row), row, reduction="sum"))
    if mode:
        model.train()
    return total / x.shape[0]


def pca_eigh(train, x, k):
    mean = train.mean(dim=0)
    vectors = torch.linalg.eigh(torch.cov(train.T)).eigenvectors[:, -k:]
    return mean + (x - mean) @ vectors @ vectors.T


def pca_sklearn(train, x, k):
    fitted = PCA(k, svd_solver="full").fit(train.numpy())
    return torch.from_numpy(fitted.inverse_transform(fitted.transform(x.numpy()))).to(x.dtype)


def pca_loops(train, x, k):
    mean = train.mean(0)
    _, _, vh = torch.linalg.svd(train - mean, full_matrices=False)
    out = mean.repeat(len(x), 1)
    for v in vh[:k]:
        out = out + ((x - mean) @ v)[:, None] * v
    return out


RIGHT = {
    "squared_error": [
        models.squared_error,
        error_loops,
        lambda a, x: torch.einsum("bd,bd->b", a - x, a - x),
        lambda a, x: F.mse_loss(a, x, reduction="none").sum(dim=1),
        lambda a, x: torch.linalg.vector_norm(a - x, dim=-1) ** 2,
    ],
    "psnr": [
        evaluation.psnr,
        psnr_by_hand,
        lambda a, x: 10 * torch.log10(1 / F.mse_loss(a, x, reduction="none").mean(1)),
        lambda a, x: -10 / math.log(10) * torch.log((a - x).pow(2).sum(1) / x.shape[1]),
    ],
    "autoencoder": [
        from_the_book,
        pair,
        lambda x_dim, code_dim: [Encoder(x_dim, code_dim), Decoder(code_dim, x_dim)],
        lambda x_dim, code_dim: pair(x_dim, code_dim, bend=nn.Tanh),
        lambda x_dim, code_dim: pair(x_dim, code_dim, bend=nn.GELU),
        lambda x_dim, code_dim: pair(x_dim, code_dim, bend=nn.Sigmoid),
        lambda x_dim, code_dim: (
            layers(x_dim, 99, 50, 40, code_dim),
            layers(code_dim, 40, 50, 99, x_dim, end=nn.Sigmoid(), bend=nn.SiLU),
        ),
        lambda x_dim, code_dim: (layers(x_dim, 16, code_dim, end=nn.LeakyReLU()), pair(x_dim, code_dim)[1]),
        normed,
        tied,
    ],
    "train_epoch": [training.train_epoch, epoch, epoch_loader, epoch_image_by_image, epoch_closure],
    "held_out_error": [look, look_in_parts, look_summed, look_at_a_copy],
    "pca_reconstruct": [pca, pca_eigh, pca_sklearn, pca_loops],
    "pca_error": [
        lambda s, n, k: s[k:].square().sum() / n,
        lambda s, n, k: sum(v**2 for v in s.tolist()[k:]) / n,
        lambda s, n, k: float(np.square(s.cpu().numpy())[k:].sum()) / n,
        lambda s, n, k: ((s @ s) - (s[:k] @ s[:k])) / n,
    ],
}

# --- wrong answers ------------------------------------------------------------------------------------------


def error(a, x):
    return (a - x).square().sum(-1)


def psnr(a, x):
    return evaluation.psnr(a, x)


class Listed(nn.Module):
    """Keeps its layers in a Python list, where PyTorch does not look."""

    def __init__(self, *widths, part=False):
        super().__init__()
        self.layers = [nn.Linear(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True)]
        if part:
            self.last = nn.Linear(widths[-1], widths[-1])

    def forward(self, x):
        for layer in self.layers:
            x = layer(x).relu()
        return self.last(x) if hasattr(self, "last") else x


class Unused(Encoder):
    def __init__(self, x_dim, code_dim):
        super().__init__(x_dim, code_dim)
        self.spare = nn.Linear(3, 3)


class NoGrad(Encoder):
    def forward(self, x):
        with torch.no_grad():
            return super().forward(x)


class Leaking(Encoder):
    """Leaves the image where the decoder finds it."""

    seen = None

    def forward(self, x):
        Leaking.seen = x.detach().mean()
        return super().forward(x)


class Peeking(Decoder):
    def forward(self, code):
        return 0.5 * super().forward(code) + 0.5 * (Leaking.seen or 0.0)


class Clamped(nn.Module):
    def forward(self, x):
        return (3 * x).clamp(0, 1)


SHARED = {}


def made_once(x_dim, code_dim):
    return SHARED.setdefault((x_dim, code_dim), pair(x_dim, code_dim))


def seeded(x_dim, code_dim):
    torch.manual_seed(0)
    return pair(x_dim, code_dim)


def zeros(x_dim, code_dim):
    parts = pair(x_dim, code_dim)
    for part in parts:
        for p in part.parameters():
            nn.init.zeros_(p) if p.dim() > 1 else nn.init.normal_(p)
    return parts


def with_norm(x_dim, code_dim):
    encoder = nn.Sequential(nn.Linear(x_dim, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, code_dim))
    return encoder, pair(x_dim, code_dim)[1]


def with_dropout(x_dim, code_dim):
    encoder = nn.Sequential(nn.Linear(x_dim, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, code_dim))
    return encoder, pair(x_dim, code_dim)[1]


def training_with(order=batches, loss=None, zero=True, step=True, result=None, tail=None):
    """An epoch with one thing changed: the order, the loss of a batch, what is returned, what comes after."""

    def train(model, x, optimizer, batch_size, generator):
        values = []
        for rows in order(x, batch_size, generator):
            each = error(model(x[rows]), x[rows])
            value = each.mean() if loss is None else loss(each, x, batch_size)
            if zero:
                optimizer.zero_grad()
            value.backward()
            if step:
                optimizer.step()
            values.append(each.detach())
        if tail:
            tail(model, x)
        return (result or (lambda values: torch.cat(values).mean().item()))(values)

    return train


def in_order(x, batch_size, generator):
    return torch.arange(len(x)).split(batch_size)


def without_last(x, batch_size, generator):
    return [rows for rows in batches(x, batch_size, generator) if len(rows) == batch_size]


def anew(x, batch_size, generator):
    count = -(-len(x) // batch_size)
    return [torch.randperm(len(x), generator=generator)[:batch_size] for _ in range(count)]


def with_replacement(x, batch_size, generator):
    return torch.randint(len(x), (len(x),), generator=generator).split(batch_size)


def blocks(x, batch_size, generator):
    parts = torch.arange(len(x)).split(batch_size)
    return [parts[i] for i in torch.randperm(len(parts), generator=generator).tolist()]


def blocks_cut_anew(x, batch_size, generator):
    return torch.cat(blocks(x, batch_size, generator)).split(batch_size)


def fixed_batches(x, batch_size, generator):
    parts = batches(x, batch_size, torch.Generator().manual_seed(0))
    return [parts[i] for i in torch.randperm(len(parts), generator=generator).tolist()]


def one_too_many(x, batch_size, generator):
    order = torch.randperm(len(x), generator=generator)
    return [order[i * batch_size : (i + 1) * batch_size] for i in range(len(x) // batch_size + 1)]


def same_order(x, batch_size, generator):
    return batches(x, batch_size, torch.Generator().manual_seed(0))


def global_order(x, batch_size, generator):
    return torch.randperm(len(x)).split(batch_size)


def first_batch(x, batch_size, generator):
    return batches(x, batch_size, generator)[:1]


def step_first(model, x, optimizer, batch_size, generator):
    for rows in batches(x, batch_size, generator):
        loss = error(model(x[rows]), x[rows]).mean()
        optimizer.zero_grad()
        optimizer.step()
        loss.backward()
    return loss.item()


def after_the_epoch(model, x, optimizer, batch_size, generator):
    epoch(model, x, optimizer, batch_size, generator)
    with torch.no_grad():
        return error(model(x), x).mean().item()


def with_graph(model, x, optimizer, batch_size, generator):
    total = 0
    for rows in batches(x, batch_size, generator):
        each = error(model(x[rows]), x[rows])
        optimizer.zero_grad()
        each.mean().backward(retain_graph=True)
        optimizer.step()
        total = total + each.sum()
    return total / len(x)


def own_optimizer(model, x, optimizer, batch_size, generator):
    return epoch(model, x, torch.optim.Adam(model.parameters()), batch_size, generator)


def no_step_for_last(model, x, optimizer, batch_size, generator):
    for rows in batches(x, batch_size, generator):
        loss = error(model(x[rows]), x[rows]).mean()
        if len(rows) == batch_size:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return loss.item()


def looking(grad=True, mode=False, back=True, value=lambda each: each.mean()):
    """A measurement with one thing changed."""

    def measure(model, x):
        was = model.training
        if mode is not None:
            model.train(mode)
        with torch.set_grad_enabled(grad):
            out = value(error(model(x), x)).detach()
        if back is not None:
            model.train(was if back is True else back == "train")
        return out

    return measure


def switched_off(model, x):
    was = model.training
    model.eval()
    torch.set_grad_enabled(False)
    out = error(model(x), x).mean()
    model.train(was)
    return out


def mean_of_means(size):
    def measure(model, x):
        return np.mean([look(model, part) for part in x.split(size)])

    return measure


def own_mean(train, x, k):
    return pca(train, x, k, mean=x.mean(0))


def whitened(train, x, k):
    mean = train.mean(0)
    _, s, vh = torch.linalg.svd(train - mean, full_matrices=False)
    return mean + (x - mean) @ vh[:k].T / s[:k] @ vh[:k]


def without_centre(train, x, k):
    vh = torch.linalg.svd(train, full_matrices=False).Vh[:k]
    return x @ vh.T @ vh


def smallest(train, x, k):
    mean = train.mean(0)
    vectors = torch.linalg.eigh(torch.cov(train.T)).eigenvectors[:, :k]
    return mean + (x - mean) @ vectors @ vectors.T


def columns(train, x, k):
    mean = train.mean(0)
    vectors = torch.linalg.svd(train - mean, full_matrices=False)[2][:, :k]
    return mean + (x - mean) @ vectors @ vectors.T


def codes_only(train, x, k):
    mean = train.mean(0)
    return (x - mean) @ torch.linalg.svd(train - mean, full_matrices=False).Vh[:k].T


def standardised(train, x, k):
    mean, std = train.mean(0), train.std(0)
    vh = torch.linalg.svd((train - mean) / std, full_matrices=False).Vh[:k]
    return mean + ((x - mean) / std) @ vh.T @ vh * std


def training_images(train, x, k):
    return pca(train, train, k)


WRONG = {
    "squared_error": [
        (lambda a, x: (a - x).square().mean(-1), "mean over pixels"),
        (lambda a, x: F.mse_loss(a, x), "one number for all images"),
        (lambda a, x: F.mse_loss(a, x, reduction="sum"), "sum over the images"),
        (lambda a, x: error(a, x).mean(), "mean over the images"),
        (lambda a, x: (a - x).square(), "nothing is summed over the pixels"),
        (lambda a, x: (a - x).square().sum(0), "the sum runs over the images"),
        (lambda a, x: (a - x).square().sum(1, keepdim=True), "keepdim"),
        (lambda a, x: (a - x).norm(dim=1), "a distance"),
        (lambda a, x: (a - x).abs().sum(1), "absolute differences"),
        (lambda a, x: (a - x).sum(1) ** 2, "summed first and squared then"),
        (lambda a, x: (a - x).sum(1), "too bright and too dark cancel"),
        (lambda a, x: 0.5 * error(a, x), "factor ½"),
        (lambda a, x: (a**2 - x**2).sum(1), "difference of the squares"),
        (lambda a, x: F.binary_cross_entropy(a, x, reduction="none").sum(1), "cross-entropy"),
        (lambda a, x: error(a.detach(), x), "the gradient is cut"),
        (lambda a, x: error(a, x).numpy(), "leaves PyTorch"),
        (lambda a, x: error(a, x).tolist(), "belong in one tensor"),
        (lambda a, x: torch.tensor(error(a, x).tolist()), "the gradient is cut"),
        (lambda a, x: 784 * (a - x).square().mean(-1), "784 stands where"),
    ],
    "psnr": [
        (lambda a, x: -psnr(a, x), "the sign"),
        (lambda a, x: 10 * (1 / (a - x).square().mean(1)).log(), "natural logarithm"),
        (lambda a, x: (1 / (a - x).square().mean(1)).log10(), "factor 10 is missing"),
        (lambda a, x: 20 * (1 / (a - x).square().mean(1)).log10(), "factor 20"),
        (lambda a, x: 10 * (1 / (a - x).square().mean(1).sqrt()).log10(), "the root of the mean square"),
        (lambda a, x: 10 * (1 / error(a, x)).log10(), "summed over pixels"),
        (lambda a, x: 10 * (255**2 / (a - x).square().mean(1)).log10(), "taken for bytes"),
        (lambda a, x: 10 * (1 / (a - x).square()).log10().mean(1), "mean of the logarithms"),
        (lambda a, x: (a - x).square().mean(1), "no logarithm is taken"),
        (lambda a, x: -10 * (error(a, x) / 784).log10(), "784 stands where"),
        (lambda a, x: 10 * (1 / F.mse_loss(a, x)).log10(), "one number for all images"),
        (lambda a, x: 10 * (1 / (a - x).square()).log10(), "nothing is summed over the pixels"),
    ],
    "autoencoder": [
        (lambda d, k: nn.Sequential(*pair(d, k)), "one network from image to image"),
        (lambda d, k: pair(d, k)[::-1], "wrong order"),
        (lambda d, k: pair(d, k) * 2, "two modules are asked for"),
        (lambda d, k: pair(d, 8), "code_dim does not decide"),
        (lambda d, k: (layers(d, 16, d), layers(d, 16, d, end=nn.Sigmoid())), "not narrow"),
        (lambda d, k: (layers(d, 16, 2 * k), pair(d, k)[1]), "twice as many numbers"),
        (lambda d, k: pair(784, k), "widths of two layers"),
        (lambda d, k: (layers(d, 16, k), layers(k, 12, d, end=nn.Tanh())), "tanh at the end"),
        (lambda d, k: (layers(d, 16, k), layers(k, 16, d)), "nothing holds them there"),
        (lambda d, k: pair(d, k, end=nn.ReLU()), "as ReLU does"),
        (lambda d, k: pair(d, k, end=nn.Softmax(-1)), "softmax"),
        (lambda d, k: pair(d, k, end=Clamped()), "cut off at the ends"),
        (lambda d, k: (nn.Linear(d, k), pair(d, k)[1]), "the encoder is linear"),
        (lambda d, k: pair(d, k, bend=nn.Identity), "nothing bends"),
        (lambda d, k: (pair(d, k)[0], layers(k, d, end=nn.Sigmoid())), "the decoder (before its last"),
        (
            lambda d, k: (layers(d, 16, k, end=nn.ReLU()), pair(d, k)[1]),
            "after the last layer of the encoder",
        ),
        *(
            (
                lambda d, k, end=end: (layers(d, 16, k, end=end()), pair(d, k)[1]),
                "a function after the last layer of the encoder",
            )
            for end in (nn.Sigmoid, nn.Tanh, nn.Softplus, nn.ELU, nn.GELU, nn.SiLU)
        ),
        (lambda d, k: (layers(d, 16, k, end=nn.LayerNorm(k)), pair(d, k)[1]), "a function after the last"),
        (lambda d, k: pair(d, k, end=nn.Hardsigmoid()), "cut off at the ends"),
        (lambda d, k: pair(d, k, end=nn.Hardsigmoid(), bend=nn.Tanh), "cut off at the ends"),
        *(
            (lambda d, k, ends=ends: pair(d, k, end=nn.Sequential(*ends)), "two functions in a row")
            for ends in (
                (nn.Sigmoid(), nn.Hardtanh(0.3, 0.7)),
                (nn.Sigmoid(), nn.Sigmoid()),
                (nn.ReLU(), nn.Sigmoid()),
            )
        ),
        (with_norm, "influence each other"),
        (with_dropout, "dropout"),
        (lambda d, k: (Listed(d, 16, k), pair(d, k)[1]), "PyTorch finds no parameters"),
        (lambda d, k: (Listed(d, 16, k, part=True), pair(d, k)[1]), "among the parameters that PyTorch"),
        (lambda d, k: (Unused(d, k), pair(d, k)[1]), "made, and not used"),
        (lambda d, k: (NoGrad(d, k), pair(d, k)[1]), "the gradient is cut on the way"),
        (lambda d, k: (Leaking(d, k), Peeking(k, d)), "passes around the code"),
        (zeros, "are the first weights all 0"),
        (made_once, "made outside of the function"),
        (seeded, "a seed is set"),
    ],
    "train_epoch": [
        (training_with(order=in_order), "in the order in which they stand"),
        (training_with(order=without_last), "which is smaller, is left out"),
        (training_with(order=anew), "drawn anew"),
        (training_with(order=with_replacement), "drawn anew"),
        (training_with(order=blocks), "the batches are shuffled"),
        (training_with(order=blocks_cut_anew), "the batches are shuffled"),
        (training_with(order=fixed_batches), "the batches are shuffled"),
        (training_with(order=one_too_many), "a batch too many"),
        (training_with(order=same_order), "every epoch has the same order"),
        (training_with(order=global_order), "does not come from the generator"),
        (training_with(order=first_batch), "ends after its first batch"),
        (training_with(order=lambda x, b, g: [torch.arange(b)] * 7), "takes the same images"),
        (
            training_with(order=lambda x, b, g: [torch.randperm(len(x), generator=g)]),
            "all images are one batch",
        ),
        (
            training_with(order=lambda x, b, g: torch.randperm(len(x), generator=g).tensor_split(b)),
            "as the number of batches",
        ),
        (
            training_with(order=lambda x, b, g: torch.randperm(len(x), generator=g).split(1)),
            "one image a step",
        ),
        (training_with(order=lambda x, b, g: [*batches(x, b, g), *batches(x, b, g)]), "more than one epoch"),
        (training_with(zero=False), "gradients are not zeroed"),
        (training_with(step=False), "step() is never called"),
        (training_with(loss=lambda each, x, b: each.sum()), "the sum over the images of a batch"),
        (training_with(loss=lambda each, x, b: each.mean() / x.shape[1]), "mean over pixels"),
        (training_with(loss=lambda each, x, b: -each.mean()), "uphill"),
        (training_with(loss=lambda each, x, b: each.sum() / b), "divided by batch_size"),
        (training_with(loss=lambda each, x, b: each.mean().sqrt()), "another function of the squared error"),
        (training_with(loss=lambda each, x, b: each.sqrt().mean()), "not along the gradient"),
        (
            training_with(result=lambda v: torch.stack([e.mean() for e in v]).mean().item()),
            "means of the batches",
        ),
        (training_with(result=lambda v: torch.cat(v).sum().item()), "the sum over the images"),
        (training_with(result=lambda v: v[-1].mean().item()), "the last batch only"),
        (training_with(result=lambda v: [e.mean().item() for e in v]), "one number was asked for"),
        (training_with(result=lambda v: None), "one number was asked for"),
        (training_with(tail=lambda model, x: model.eval()), "in evaluation mode"),
        (training_with(tail=lambda model, x: torch.set_grad_enabled(False)), "gradients are switched off"),
        (step_first, "step() comes before backward()"),
        (after_the_epoch, "the error after the epoch"),
        (with_graph, "holds on to the graph"),
        (no_step_for_last, "no step is made for it"),
        (own_optimizer, "another optimizer makes the steps"),
    ],
    "held_out_error": [
        (looking(mode=None, grad=False), "in training mode"),
        (looking(), "gradients switched on"),
        (looking(grad=False, back=None), "would train a model that is not in training mode"),
        (looking(grad=False, back="train"), "whatever it was in before"),
        (looking(grad=False, value=lambda e: e.sum()), "the sum over the images"),
        (looking(grad=False, value=lambda e: e), "their mean is asked for"),
        (looking(grad=False, value=lambda e: e.mean().sqrt()), "the root of the error"),
        (looking(grad=False, value=lambda e: e[0]), "one image only"),
        (switched_off, "gradients are switched off"),
        (lambda model, x: look(model, x) / x.shape[1], "mean over pixels"),
        (mean_of_means(64), "the mean of the means of batches"),
        (mean_of_means(256), "the mean of the means of batches"),
        (lambda model, x: 3.0, "was not asked for a reconstruction"),
    ],
    "pca_reconstruct": [
        (own_mean, "its own mean"),
        (without_centre, "the mean is never taken off"),
        (lambda t, x, k: pca(x, x, k), "found in x"),
        (lambda t, x, k: pca(torch.cat([t, x]), x, k), "together"),
        (lambda t, x, k: pca(t, x, k) - t.mean(0), "never put back"),
        (whitened, "divided by the singular values"),
        (smallest, "puts the smallest first"),
        (columns, "the columns of the third factor"),
        (codes_only, "these are codes"),
        (standardised, "scaled to equal spread"),
        (training_images, "the training images are rebuilt"),
        (lambda t, x, k: x - pca(t, x, k), "what the projection loses"),
        (lambda t, x, k: pca(t, x, k + 1), "one direction too many"),
        (lambda t, x, k: pca(t, x, k, mean=t.mean()), "one mean for all pixels"),
        (lambda t, x, k: t.mean(0).expand_as(x), "the code has no influence"),
        (lambda t, x, k: x.clone(), "k has no influence"),
        (lambda t, x, k: pca(t, x, k).clamp(0, 1), "squeezed between 0 and 1"),
    ],
    "pca_error": [
        (lambda s, n, k: s[:k].square().sum() / n, "that are kept"),
        (lambda s, n, k: s[k:].square().sum() / (n - 1), "n − 1"),
        (lambda s, n, k: s[k:].sum() / n, "not squared"),
        (lambda s, n, k: s[k:].square().sum(), "the sum over all images"),
        (lambda s, n, k: (s[k:].square().sum() / n).sqrt(), "the root of it"),
        (lambda s, n, k: s[k:].square().mean(), "lost directions, and not by that of images"),
        (lambda s, n, k: s[k + 1 :].square().sum() / n, "one direction too few"),
        (lambda s, n, k: s[k - 1 :].square().sum() / n, "one direction too many"),
        (lambda s, n, k: s[k].square() / n, "only the first lost"),
        (lambda s, n, k: s[k:].square().sum() / s.square().sum(), "a share of the whole"),
        (lambda s, n, k: s[k:].square() / n, "one number was asked for"),
        (lambda s, n, k: s[k:].square().sum(0, keepdim=True) / n, "an axis is left over"),
    ],
}
PREDICTED = {
    "predict_shifted_digits": [
        ("b", (25.0, 59.0, 68.0), "as you expected, the error on shifted digits grows much more"),
        ("a", (25.0, 59.0, 68.0), "thought to describe strokes"),
        ("b", (25.0, 70.0, 68.0), "something else was measured"),
        ("c", (25.0, 59.0, 68.0), "as badly as an inverted digit"),
    ]
}
