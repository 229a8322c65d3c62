"""The gradients of the book's models, written out: what autograd finds, in fewer operations.

`vaebook.training.fit` takes them where it can, because readers wait for training. They are faster for three
reasons. Nothing is recorded. Each gradient is written over that of the step before, so none is zeroed and no
memory is asked for. And binary pixels need no derivative of a logarithm: the gradient of -log p(x|z) with
respect to the logits is sigmoid(logits) - x. The tests hold that the results are autograd's to rounding.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaebook.models import VAE, Autoencoder, BetaVAE

Gradients = Callable[[Tensor, torch.Generator], dict[str, Tensor]]


def forward(layers: list[nn.Linear], a: Tensor) -> list[Tensor]:
    """What goes into each layer, and what the last puts out; a ReLU lies between each two."""
    activations = [a]
    for layer in layers[:-1]:
        activations.append(torch.addmm(layer.bias, activations[-1], layer.weight.t()).relu_())
    activations.append(torch.addmm(layers[-1].bias, activations[-1], layers[-1].weight.t()))
    return activations


def backward(layers: list[nn.Linear], activations: list[Tensor], d: Tensor) -> Tensor:
    """Write the gradient of every weight, for the gradient `d` (batch, n_out) of what came out.

    Returns:
        (batch, n) the gradient with respect to what the first layer puts out.
    """
    for i in reversed(range(len(layers))):
        torch.mm(d.t(), activations[i], out=layers[i].weight.grad)
        torch.sum(d, 0, out=layers[i].bias.grad)
        if i > 0:
            d = torch.ops.aten.threshold_backward(d @ layers[i].weight, activations[i], 0)  # the ReLU's
    return d


def autoencoder_gradients(model: Autoencoder, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """Write the gradient of the mean over the batch of the model's loss into its parameters' `.grad`.

    Args:
        x: (batch, pixels).

    Returns:
        the sum of every term of `model.loss_terms` over the batch.
    """
    encoder, decoder = linear_layers(model.encoder), linear_layers(model.decoder)
    codes = forward(encoder, x)
    outputs = forward(decoder, codes[-1])
    x_hat = outputs[-1].sigmoid()
    error = x_hat - x
    d_logits = error * x_hat.mul_(1 - x_hat).mul_(2 / len(x))
    d_first = backward(decoder, outputs, d_logits)
    backward(encoder, codes, d_first @ decoder[0].weight)
    return {"loss": error.square_().sum()}


def vae_gradients(model: VAE, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """The same for a VAE: `x` is binary, and the noise is drawn from `generator` as `model.elbo` draws it."""
    encoder, decoder = linear_layers(model.encoder), linear_layers(model.decoder)
    price, n = getattr(model, "beta", 1.0), len(x)
    codes = forward(encoder, x)
    mu, log_var = codes[-1].chunk(2, dim=-1)
    variance = log_var.exp()
    noise = torch.randn(mu.shape, generator=generator, device=mu.device, dtype=mu.dtype).mul_(variance.sqrt())
    outputs = forward(decoder, mu + noise)
    logits = outputs[-1]

    reconstruction = (x * logits).sum() - F.softplus(logits).sum()
    kl = 0.5 * (mu.square() + variance - 1 - log_var).sum()

    d_first = backward(decoder, outputs, logits.sigmoid().sub_(x).div_(n))
    d_z = d_first @ decoder[0].weight
    d_mu = d_z + (price / n) * mu
    d_log_var = 0.5 * (d_z * noise + (price / n) * (variance - 1))
    backward(encoder, codes, torch.cat([d_mu, d_log_var], dim=-1))
    return {"loss": price * kl - reconstruction, "reconstruction": reconstruction, "kl": kl}


WRITTEN_OUT = {Autoencoder: autoencoder_gradients, VAE: vae_gradients, BetaVAE: vae_gradients}


def linear_layers(network: nn.Module) -> list[nn.Linear]:
    """The linear layers of a network that `vaebook.models.mlp` made."""
    return [layer for layer in network if isinstance(layer, nn.Linear)]


def _make_room(model: nn.Module) -> None:
    """Give every parameter a gradient to write into."""
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)


def written_out(model: nn.Module, x: Tensor) -> Gradients | None:
    """Writes the gradients of this model into its parameters' `.grad`; None if only autograd knows them.

    That is so for other classes (a subclass may compute something else), for networks of other layers, for
    frozen parameters, and for images that the model's own loss refuses.
    """
    if type(model) not in WRITTEN_OUT or not all(p.requires_grad for p in model.parameters()):
        return None
    for network in (model.encoder, model.decoder):
        if type(network) is not nn.Sequential or any(
            type(layer) is not (nn.ReLU if i % 2 else nn.Linear) or layer._forward_hooks
            for i, layer in enumerate(network)
        ):
            return None
    if isinstance(model, VAE) and not ((x == 0) | (x == 1)).all():
        return None

    _make_room(model)

    @torch.no_grad()
    def gradients(x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        return WRITTEN_OUT[type(model)](model, x, generator)

    return gradients


def by_autograd(model: nn.Module) -> Gradients:
    """The gradients of any model in the same form, found by autograd: for `captured`.

    Its `loss_terms` must not ask the device for a number, as a check of its arguments does.
    """
    _make_room(model)

    def gradients(x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        with torch.enable_grad():
            terms = model.loss_terms(x, generator)
            for parameter in model.parameters():
                parameter.grad.zero_()
            terms["loss"].mean().backward()
        return {name: values.detach().sum() for name, values in terms.items()}

    return gradients


def captured(gradients: Gradients, example: Tensor, generator: torch.Generator) -> Gradients:
    """The same gradients as a CUDA graph: one launch replays all operations, for batches like `example`.

    A small network leaves a GPU waiting for Python; a graph does not ask Python. Batches of another length
    are computed without it. What is returned is overwritten by the next call.
    Source: PyTorch's notes on CUDA graphs.
    """
    batch, state = example.clone(), generator.get_state()
    with torch.cuda.device(example.device):  # what runs on another device is not recorded
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # libraries set themselves up on first use, which a graph cannot record
            for _ in range(3):
                gradients(batch, generator)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(generator)
        with torch.cuda.graph(graph):
            sums = gradients(batch, generator)
    generator.set_state(state)

    def replayed(x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        if len(x) != len(batch):
            return gradients(x, generator)
        batch.copy_(x)
        graph.replay()
        return sums

    return replayed
