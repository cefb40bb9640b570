"""From a word for some weights to a network that is ready to run."""

from typing import Any

import jax.numpy as jnp
from jax.typing import DTypeLike

from nstjax import convolution
from nstjax.architecture import CONVOLUTIONS, Padding, Pooling
from nstjax.vgg import VGG19
from nstjax.weights import Weights, find


def build(weights: Weights, **options: Any) -> VGG19:
    """VGG19 with these weights; ``options`` are those of ``VGG19``."""
    return VGG19(weights.parameters, weights.flavour, **options)


def load_vgg19(
    source: str = "auto",
    *,
    pooling: Pooling | None = None,
    padding: Padding | None = None,
    backend: convolution.Backend = "direct",
    precision: convolution.Precision = "default",
    dtype: DTypeLike = jnp.float32,
    rematerialise: bool = False,
) -> VGG19:
    """VGG19 with trained weights.

    Args:
        source: "auto" (a converted file if there is one, else fetched), a name from the manifest, or a file.
        pooling: this and all that follows: see ``VGG19``.
        padding: see ``VGG19``.
        backend: see ``VGG19``.
        precision: see ``VGG19``.
        dtype: see ``VGG19``.
        rematerialise: see ``VGG19``.

    Raises:
        UserError: there are no such weights, or they are damaged; one line that says what to do.
    """
    # A file serves what it holds; what is found without being named must hold everything.
    weights = find(source, deepest=CONVOLUTIONS[-1] if source == "auto" else CONVOLUTIONS[0])
    options: dict[str, Any] = {"backend": backend, "precision": precision, "dtype": dtype}
    return build(weights, pooling=pooling, padding=padding, rematerialise=rematerialise, **options)
