"""The 3x3 convolution and the 2x2 poolings of a feature map ``[h, w, c]``.

``prepare(kernel, backend=…)`` runs once, on the host, and returns a pytree; ``apply(x, prepared)`` runs in the step.
Which backend it is stands in the pytree's type, so traced code never asks.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from nstjax.errors import UserError
from nstjax.network import winograd
from nstjax.network.architecture import Padding, Pooling
from nstjax.types import FeatureMap

Backend = Literal["direct", "winograd"]
Precision = Literal["default", "high", "highest"]

_LEAST = (64, 128)
"""From how many channels, on one side and the other, Winograd's filtering gains: measured on CPUs with AVX-512."""


@partial(jax.tree_util.register_dataclass, data_fields=["kernel", "backward"], meta_fields=["precision"])
@dataclass(frozen=True)
class Direct:
    """XLA's own convolution, with the kernel that takes gradients back to its input kept beside it."""

    kernel: Float[Array, "3 3 c k"]
    backward: Float[Array, "3 3 k c"]
    precision: Precision

    def __call__(self, x: Float[Array, "h w c"], *, zeros: int) -> Float[Array, "h-2+2*zeros w-2+2*zeros k"]:
        """Convolve x with so many zeros put around it."""
        return _convolve(x, self.kernel, self.backward, zeros, self.precision)


def _forward(x: Array, kernel: Array, zeros: int, precision: Precision) -> Array:
    y = lax.conv_general_dilated(
        x[None],
        kernel,
        window_strides=(1, 1),
        padding=[(zeros, zeros)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=lax.Precision(precision),
    )
    return y[0]


# JAX's own rule for the gradient reads the kernel with its channels swapped, a form for which XLA's CPU compiler has
# only a slow routine inside loops (four times slower here). With the turned kernel at hand the gradient is a plain
# convolution.
@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _convolve(x: Array, kernel: Array, backward: Array, zeros: int, precision: Precision) -> Array:
    return _forward(x, kernel, zeros, precision)


def _convolve_forward(x: Array, kernel: Array, backward: Array, zeros: int, precision: Precision):
    return _forward(x, kernel, zeros, precision), (x, kernel, backward)


def _convolve_backward(zeros: int, precision: Precision, residuals: tuple[Array, Array, Array], dy: Array):
    x, kernel, backward = residuals
    # Nobody trains the kernel here; where nobody asks for its gradient, the compiler drops this line.
    (d_kernel,) = jax.vjp(lambda kernel: _forward(x, kernel, zeros, precision), kernel)[1](dy)
    return _forward(dy, backward, 2 - zeros, precision), d_kernel, jnp.zeros_like(backward)


_convolve.defvjp(_convolve_forward, _convolve_backward)


@partial(jax.tree_util.register_dataclass, data_fields=["direct", "kernel"], meta_fields=["precision"])
@dataclass(frozen=True)
class Winograd:
    """Winograd's filtering on CPUs, XLA's own convolution elsewhere: each platform's program holds its own alone."""

    direct: Float[Array, "3 3 c k"]
    kernel: list[Float[Array, "6 c k"]]
    precision: Precision

    def __call__(self, x: Float[Array, "h w c"], *, zeros: int) -> Float[Array, "h-2+2*zeros w-2+2*zeros k"]:
        """Convolve x with so many zeros put around it, 0 or 1."""

        def on_cpu(x: Array) -> Array:
            y = _filter(x, self.kernel)
            return y if zeros else y[1:-1, 1:-1]

        # With JAX's own gradient: what ``_convolve`` keeps clear of is a CPU's.
        def elsewhere(x: Array) -> Array:
            return _forward(x, self.direct, zeros, self.precision)

        return lax.platform_dependent(x, cpu=on_cpu, default=elsewhere)


@jax.custom_vjp
def _filter(x: Array, kernel: list[Array]) -> Array:
    return winograd.convolve(x, kernel)


def _filter_forward(x: Array, kernel: list[Array]):
    return winograd.convolve(x, kernel), (x, kernel)


def _filter_backward(residuals: tuple[Array, list[Array]], dy: Array):
    x, kernel = residuals
    (d_kernel,) = jax.vjp(partial(winograd.convolve, x), kernel)[1](dy)
    return winograd.transpose(dy, kernel), d_kernel


_filter.defvjp(_filter_forward, _filter_backward)


Prepared: TypeAlias = Direct | Winograd


def prepare(
    kernel: Float[np.ndarray, "3 3 c k"], *, backend: Backend = "direct", precision: Precision = "default"
) -> Prepared:
    """Put a kernel into the form in which a backend wants it.

    Args:
        kernel: [3, 3, channels in, channels out] float32.
        backend: "direct", XLA's own convolution; "winograd", on CPUs, where there are channels enough for it to gain.
        precision: of the products, on devices that have a choice: "default" is what JAX does (TF32 or bfloat16 passes
            on accelerators), "highest" is float32.

    Raises:
        UserError: unknown backend.
    """
    if backend not in get_args(Backend):
        raise UserError(f"unknown convolution backend {backend!r}: expected one of {', '.join(get_args(Backend))}")
    kernel = np.asarray(kernel, np.float32)
    if backend == "winograd" and min(kernel.shape[2:]) >= _LEAST[0] and max(kernel.shape[2:]) >= _LEAST[1]:
        return Winograd(jnp.asarray(kernel), [*map(jnp.asarray, winograd.transformed(kernel))], precision)
    turned = np.ascontiguousarray(np.flip(kernel, (0, 1)).swapaxes(2, 3))
    return Direct(jnp.asarray(kernel), jnp.asarray(turned), precision)


def _pad(x: FeatureMap, padding: Literal["edge", "reflect"]) -> Float[Array, "h+2 w+2 c"]:
    """One more position on each side.

    A mirror needs two positions to look at; where there is one, its value is repeated.
    """
    for axis in (0, 1):
        mode = "edge" if x.shape[axis] == 1 else padding
        x = jnp.pad(x, [(1, 1) if a == axis else (0, 0) for a in range(3)], mode=mode)
    return x


def apply(x: FeatureMap, prepared: Prepared, *, padding: Padding = "zero") -> FeatureMap:
    """The convolution (cross-correlation, as every network library has it) at every position of ``x``.

    Args:
        x: [h, w, c].
        prepared: what ``prepare`` returned.
        padding: what stands outside the map: zeros, its edge repeated, or its mirror image.

    Returns:
        [h, w, k].
    """
    return prepared(x, zeros=1) if padding == "zero" else prepared(_pad(x, padding), zeros=0)


def pool(x: FeatureMap, pooling: Pooling) -> FeatureMap:
    """2x2 pooling with stride 2; an odd last row or column is dropped.

    Args:
        x: [h, w, c].
        pooling: "max", "average", or "l2", the root of the sum of the four squares.
    """
    h, w, c = x.shape
    windows = x[: h // 2 * 2, : w // 2 * 2].reshape(h // 2, 2, w // 2, 2, c)
    if pooling == "max":
        return _largest(windows)
    if pooling == "average":
        return windows.mean(axis=(1, 3))
    # The root has no gradient at zero, and behind a ReLU whole windows are zero: there the gradient is taken as zero.
    squares = jnp.sum(windows**2, axis=(1, 3))
    return jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1)), 0)


# XLA's gradient of a maximum costs a CPU six times as much, and shares it out among equals; as in PyTorch and
# TensorFlow, the first of them has it.
@jax.custom_vjp
def _largest(windows: Float[Array, "h 2 w 2 c"]) -> Float[Array, "h w c"]:
    return windows.max(axis=(1, 3))


def _largest_forward(windows: Array):
    y = windows.max(axis=(1, 3))
    return y, (windows, y)


def _largest_backward(residuals: tuple[Array, Array], dy: Array):
    windows, y = residuals
    a, b, c = windows[:, 0, :, 0], windows[:, 0, :, 1], windows[:, 1, :, 0]
    smaller = jnp.maximum(a, b) < y
    first = [[a == y, (a < y) & (b == y)], [smaller & (c == y), smaller & (c < y)]]
    return (jnp.stack([jnp.stack([jnp.where(it, dy, 0) for it in row], 2) for row in first], 1),)


_largest.defvjp(_largest_forward, _largest_backward)


@jax.custom_vjp
def relu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """``max(x, 0)``, whose gradient needs the output alone, not the input beside it."""
    return jnp.maximum(x, 0)


def _relu_forward(x: Array):
    y = jnp.maximum(x, 0)
    return y, y


def _relu_backward(y: Array, dy: Array):
    return (jnp.where(y > 0, dy, 0),)


relu.defvjp(_relu_forward, _relu_backward)
