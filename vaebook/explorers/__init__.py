"""Figures with sliders: a move draws one picture, and `still` gives the same picture for the page."""

from vaebook.explorers.base import Explorer
from vaebook.explorers.images import code_plane, code_size_and_noise, latent_plane

__all__ = ["Explorer", "code_plane", "code_size_and_noise", "latent_plane"]
