"""Figures with controls: they move in the reader's browser, and `still` gives the same picture for paper."""

from vaebook.explorers.base import Explorer
from vaebook.explorers.dimension import draws_explorer
from vaebook.explorers.estimators import estimator_explorer
from vaebook.explorers.frontier import beta_explorer
from vaebook.explorers.gap import gap_explorer
from vaebook.explorers.images import code_plane, code_size_and_noise, latent_plane
from vaebook.explorers.posterior import posterior_explorer
from vaebook.explorers.reparameterization import reparameterization_explorer

__all__ = [
    "Explorer",
    "beta_explorer",
    "code_plane",
    "code_size_and_noise",
    "draws_explorer",
    "estimator_explorer",
    "gap_explorer",
    "latent_plane",
    "posterior_explorer",
    "reparameterization_explorer",
]
