"""Numbers for the page: arrays as bytes, networks of few bytes, and noise that needs none."""

import copy
import math
import zlib
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

LARGE = 4096  # a layer with more weights than this is rounded


def pack(part: Any) -> Any:
    """Arrays and tensors, in whatever lists and dictionaries, as what live.js unpacks."""
    if isinstance(part, dict):
        return {name: pack(inner) for name, inner in part.items()}
    if isinstance(part, (list, tuple)):
        return [pack(inner) for inner in part]
    if isinstance(part, Tensor):
        part = part.detach().cpu().numpy()
    if isinstance(part, np.ndarray):
        little = np.ascontiguousarray(part, dtype=part.dtype.newbyteorder("<"))
        return {
            "dtype": part.dtype.name,
            "shape": list(part.shape),
            "bytes": zlib.compress(little.tobytes(), 9),
        }
    return part


def rounded(network: nn.Sequential) -> tuple[nn.Sequential, list[dict]]:
    """A copy of a network with its large layers rounded to 8 bits, and the same numbers for live.js.

    Each row of weights is whole numbers from -127 to 127 times the row's scale: a quarter of the bytes. Both
    sides compute with the rounded weights, so that they agree. A pixel of the book's decoders changes by
    0.001 in the mean, and by 0.06 at most, far from all codes.
    """
    network, layers = copy.deepcopy(network), []
    for layer in network:
        if isinstance(layer, nn.ReLU):
            continue
        if not isinstance(layer, nn.Linear):
            raise TypeError(f"the network has a {type(layer).__name__}; live.js knows Linear and ReLU.")
        weight, scale = layer.weight.detach(), torch.ones(layer.out_features, device=layer.weight.device)
        if weight.numel() > LARGE:
            scale = weight.abs().amax(1).clamp(min=1e-30) / 127
            weight = (weight / scale[:, None]).round()
            layer.weight.data = weight * scale[:, None]
            weight = weight.to(torch.int8)
        layers.append({"weight": weight, "scale": scale, "bias": layer.bias})
    return network, layers


def _mixed(x: np.ndarray) -> np.ndarray:
    """Whole numbers of 32 bits, each turned into another that looks drawn at random."""
    x = x ^ (x >> 16)
    x = x * np.uint32(0x21F0AAAD)
    x = x ^ (x >> 15)
    x = x * np.uint32(0x735A2D97)
    return x ^ (x >> 15)


def normals(seed: int, *shape: int) -> Tensor:
    """Standard normal noise, float64, that `normals` of live.js draws as well: not one number need be sent.

    The i-th pair comes from the hashes of 2i and 2i + 1, by the transform of Box and Muller (1958).
    """
    n = math.prod(shape)
    counter = np.arange(n + n % 2, dtype=np.uint32)
    key = _mixed(np.array([seed], dtype=np.uint32))
    uniform = (_mixed(_mixed(counter + np.uint32(0x9E3779B9)) ^ key) + 0.5) / 2**32
    radius, angle = np.sqrt(-2 * np.log(uniform[::2])), 2 * np.pi * uniform[1::2]
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    return torch.from_numpy(pairs.flatten()[:n]).reshape(shape)


def bytes_of(images: Tensor) -> Tensor:
    """Pixels in [0, 1] rounded to 8 bits, uint8."""
    return (255 * images.detach().cpu()).round().byte()
