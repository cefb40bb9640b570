"""Networks with weights, ready to run."""

import os
from collections.abc import Iterable
from typing import Any, get_args

import jax.numpy as jnp
from jax.typing import DTypeLike

from nstjax.arguments import describe, to_choice, to_flag, to_text
from nstjax.errors import UserError
from nstjax.network import convolution
from nstjax.network.architecture import VGG19, Padding, Pooling, find_deepest_step
from nstjax.network.vgg import VGG
from nstjax.network.weights import Weights, find

_CHOICES = {
    "pooling": get_args(Pooling),
    "padding": get_args(Padding),
    "backend": get_args(convolution.Backend),
    "precision": get_args(convolution.Precision),
}


def build(weights: Weights, *, layers: Iterable[str] | None = None, **options: Any) -> VGG:
    """Build the network of these weights.

    Args:
        weights: the weights.
        layers: the layers that will be asked for; the network ends at the deepest. None for the whole network.
        options: keyword arguments of ``VGG``.
    """
    parameters = weights.parameters
    if layers is not None:
        deepest = find_deepest_step(layers) or weights.architecture.convolutions[0]
        parameters = {name: parameters[name] for name in weights.architecture.convolutions_to(deepest)}
    return VGG(parameters, weights.flavour, architecture=weights.architecture, **options)


def load_vgg(
    source: str | os.PathLike[str] = "auto",
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
    source = to_text("source", source)
    options = _check_options(
        pooling=pooling,
        padding=padding,
        backend=backend,
        precision=precision,
        dtype=dtype,
        rematerialise=rematerialise,
    )
    return build(find(source, layers=None if source == "auto" else ()), **options)


def load_vgg19(source: str | os.PathLike[str] = "auto", **options: Any) -> VGG:
    """Load VGG19 with trained weights.

    Args:
        source: see ``load_vgg``; "auto" skips other networks.
        options: keyword arguments of ``load_vgg``.

    Raises:
        UserError: there are no such weights, they are damaged, or they are for another network; the message says what
            to do.
    """
    source, options = to_text("source", source), _check_options(**options)
    weights = find(source, layers=VGG19.convolutions if source == "auto" else ())
    if weights.architecture != VGG19:
        raise UserError(
            f"{source} holds weights of {weights.architecture.name}, not VGG19: "
            "use nstjax.load_vgg, which loads any network"
        )
    return build(weights, **options)


def _check_options(**options: Any) -> dict[str, Any]:
    """Return the options of a network, after a check; pooling and padding are left out where they are None."""
    given = {name: value for name, value in options.items() if value is not None or name not in ("pooling", "padding")}
    for name, value in given.items():
        if name in _CHOICES:
            to_choice(name, value, _CHOICES[name])
    if "rematerialise" in given:
        given["rematerialise"] = to_flag("rematerialise", given["rematerialise"])
    if "dtype" in given:
        given["dtype"] = _to_dtype(given["dtype"])
    return given


def _to_dtype(value: Any) -> Any:
    try:
        dtype = None if value is None else jnp.dtype(value)
    except TypeError:
        dtype = None
    if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
        raise UserError(f"dtype must be float32 or bfloat16, not {describe(value)}")
    return dtype
