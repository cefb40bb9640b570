"""Networks with weights, ready to run."""

from typing import Any

import jax.numpy as jnp
from jax.typing import DTypeLike

from nstjax.errors import UserError
from nstjax.network import convolution
from nstjax.network.architecture import VGG19, Padding, Pooling
from nstjax.network.vgg import VGG
from nstjax.network.weights import Weights, find


def build(weights: Weights, **options: Any) -> VGG:
    """Build the network of these weights.

    Args:
        weights: the weights.
        options: keyword arguments of ``VGG``.
    """
    return VGG(weights.parameters, weights.flavour, architecture=weights.architecture, **options)


def load_vgg(
    source: str = "auto",
    *,
    pooling: Pooling | None = None,
    padding: Padding | None = None,
    backend: convolution.Backend = "direct",
    precision: convolution.Precision = "default",
    dtype: DTypeLike = jnp.float32,
    rematerialise: bool = False,
) -> VGG:
    """Load a VGG network with trained weights: VGG19 or VGG16, depending on the weights.

    Args:
        source: "auto" (the first complete network among a converted file, Keras's VGG19 after a download, and an
            installed VGG16), a name from the manifest, or a file, which may hold only some layers.
        pooling: see ``VGG``.
        padding: see ``VGG``.
        backend: see ``VGG``.
        precision: see ``VGG``.
        dtype: see ``VGG``.
        rematerialise: see ``VGG``.

    Raises:
        UserError: there are no such weights, or they are damaged; the message says what to do.
    """
    weights = find(source, layers=None if source == "auto" else ())
    return build(
        weights,
        pooling=pooling,
        padding=padding,
        backend=backend,
        precision=precision,
        dtype=dtype,
        rematerialise=rematerialise,
    )


def load_vgg19(source: str = "auto", **options: Any) -> VGG:
    """Load VGG19 with trained weights.

    Args:
        source: see ``load_vgg``; "auto" skips other networks.
        options: keyword arguments of ``load_vgg``.

    Raises:
        UserError: there are no such weights, they are damaged, or they are for another network; the message says what
            to do.
    """
    weights = find(source, layers=VGG19.convolutions if source == "auto" else ())
    if weights.architecture != VGG19:
        raise UserError(
            f"{source} holds weights of {weights.architecture.name}, not VGG19: "
            "use nstjax.load_vgg, which loads any network"
        )
    return build(weights, **options)
