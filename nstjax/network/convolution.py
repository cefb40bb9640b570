"""3x3 convolution, 2x2 pooling and ReLU of a feature map ``[h, w, c]``.

``prepare(kernel, backend=…)`` runs once, on the host, and returns a pytree; ``apply(x, prepared)`` runs in each step.
The type of the pytree determines the backend, so traced code needs no branch.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from nstjax.errors import UserError
from nstjax.network import winograd
from nstjax.network.architecture import Padding, Pooling
from nstjax.types import FeatureMap

Backend = Literal["direct", "winograd"]
Precision = Literal["default", "high", "highest"]

_MIN_CHANNELS = 64
"""Fewest channels in and out with which Winograd's filtering is faster (CPUs, AVX-512); in float32 one of the two must
be twice that."""


@partial(jax.tree_util.register_dataclass, data_fields=["kernel", "backward"], meta_fields=["precision"])
@dataclass(frozen=True)
class Direct:
    """A kernel for XLA's convolution, in the dtype of the kernel.

    Args:
        kernel: the kernel.
        backward: the kernel of the gradient: turned by 180 degrees, with input and output channels swapped.
        precision: precision of the products.
    """

    kernel: Float[Array, "3 3 c k"]
    backward: Float[Array, "3 3 k c"]
    precision: Precision

    def __call__(self, x: Float[Array, "h w c"], *, zeros: int) -> Float[Array, "h-2+2*{zeros} w-2+2*{zeros} k"]:
        """Convolve x with the given number of zeros on each side."""
        return _convolve(x.astype(self.kernel.dtype), self.kernel, self.backward, zeros, self.precision)


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


# JAX's rule for the gradient swaps the channels of the kernel, a form for which XLA's CPU compiler has only a slow
# routine inside loops (four times slower here). With the turned kernel the gradient is a plain convolution.
@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _convolve(x: Array, kernel: Array, backward: Array, zeros: int, precision: Precision) -> Array:
    return _forward(x, kernel, zeros, precision)


def _convolve_forward(x: Array, kernel: Array, backward: Array, zeros: int, precision: Precision):
    return _forward(x, kernel, zeros, precision), (x, kernel, backward)


def _convolve_backward(zeros: int, precision: Precision, residuals: tuple[Array, Array, Array], dy: Array):
    x, kernel, backward = residuals
    # The kernel is not trained. If its gradient is not used, the compiler drops this line.
    (d_kernel,) = jax.vjp(lambda kernel: _forward(x, kernel, zeros, precision), kernel)[1](dy)
    return _forward(dy, backward, 2 - zeros, precision), d_kernel, jnp.zeros_like(backward)


_convolve.defvjp(_convolve_forward, _convolve_backward)


@partial(jax.tree_util.register_dataclass, data_fields=["direct", "kernel", "turned"], meta_fields=["precision"])
@dataclass(frozen=True)
class Winograd:
    """A kernel for Winograd's filtering on CPUs and for XLA's convolution elsewhere.

    A compiled program contains only the method of its platform. Both return the dtype of x, not that of the kernel.

    Args:
        direct: the kernel.
        kernel: the transformed kernel; see ``winograd.transform_kernel``.
        turned: its matrices transposed, for the gradient, if XLA has no fast product with a transposed factor of their
            dtype; else nothing.
        precision: precision of the products of XLA's convolution.
    """

    direct: Float[Array, "3 3 c k"]
    kernel: list[Float[Array, "6 c k"]]
    turned: list[Float[Array, "6 k c"]]
    precision: Precision

    def __call__(self, x: Float[Array, "h w c"], *, zeros: int) -> Float[Array, "h-2+2*{zeros} w-2+2*{zeros} k"]:
        """Convolve x with the given number of zeros on each side, 0 or 1."""

        def convolve_on_cpu(x: Array) -> Array:
            y = _filter(x, self.kernel, self.turned)
            return y if zeros else y[1:-1, 1:-1]

        # With JAX's own gradient: the slow routine that ``_convolve`` avoids is one of CPUs.
        def convolve_elsewhere(x: Array) -> Array:
            return _forward(x.astype(self.direct.dtype), self.direct, zeros, self.precision).astype(x.dtype)

        return lax.platform_dependent(x, cpu=convolve_on_cpu, default=convolve_elsewhere)


@jax.custom_vjp
def _filter(x: Array, kernel: list[Array], turned: list[Array]) -> Array:
    return winograd.convolve(x, kernel)


def _filter_forward(x: Array, kernel: list[Array], turned: list[Array]):
    return winograd.convolve(x, kernel), (x, kernel, turned)


def _filter_backward(residuals: tuple[Array, list[Array], list[Array]], dy: Array):
    x, kernel, turned = residuals
    (d_kernel,) = jax.vjp(partial(winograd.convolve, x), kernel)[1](dy)
    dx = winograd.convolve_transpose(dy, turned or [u.swapaxes(1, 2) for u in kernel])
    return dx, d_kernel, jax.tree.map(jnp.zeros_like, turned)


_filter.defvjp(_filter_forward, _filter_backward)


Prepared: TypeAlias = Direct | Winograd


def prepare(
    kernel: Float[np.ndarray, "3 3 c k"],
    *,
    backend: Backend = "direct",
    precision: Precision = "default",
    dtype: DTypeLike = jnp.float32,
) -> Prepared:
    """Convert a kernel to the form that a backend needs.

    Args:
        kernel: [3, 3, channels in, channels out] float32.
        backend: "direct", XLA's convolution; or "winograd", Winograd's filtering on CPUs for kernels with enough
            channels to be faster, and XLA's convolution for the rest.
        precision: precision of the products, on devices with a choice: "default" is JAX's (TF32 or bfloat16 passes on
            accelerators), "highest" is float32.
        dtype: dtype of the factors of the products; with the backend "winograd", of its kernels alone, since CPUs gain
            nothing from a narrow direct convolution.

    Raises:
        UserError: the backend is unknown.
    """
    if backend not in get_args(Backend):
        raise UserError(f"unknown convolution backend {backend!r}: expected one of {', '.join(get_args(Backend))}")
    kernel = np.asarray(kernel, np.float32)
    narrow = jnp.dtype(dtype).itemsize < 4
    fewer, more = sorted(kernel.shape[2:])
    if backend == "winograd" and fewer >= _MIN_CHANNELS and more >= _MIN_CHANNELS * (1 if narrow else 2):
        transformed = winograd.transform_kernel(kernel)
        turned = [jnp.asarray(u.swapaxes(1, 2), dtype) for u in transformed if narrow]
        return Winograd(jnp.asarray(kernel, dtype), [jnp.asarray(u, dtype) for u in transformed], turned, precision)
    if backend == "winograd" and narrow:
        dtype = jnp.float32
    turned = np.ascontiguousarray(np.flip(kernel, (0, 1)).swapaxes(2, 3))
    return Direct(jnp.asarray(kernel, dtype), jnp.asarray(turned, dtype), precision)


def _pad(x: FeatureMap, padding: Literal["edge", "reflect"]) -> Float[Array, "h+2 w+2 c"]:
    """Add one position on each side.

    Reflection needs two positions; a single one is repeated instead.
    """
    for axis in (0, 1):
        mode = "edge" if x.shape[axis] == 1 else padding
        x = jnp.pad(x, [(1, 1) if dimension == axis else (0, 0) for dimension in range(3)], mode=mode)
    return x


def apply(x: FeatureMap, prepared: Prepared, *, padding: Padding = "zero") -> Float[Array, "h w k"]:
    """Convolve a feature map (by cross-correlation, like every network library), at every position.

    Args:
        x: [h, w, c].
        prepared: a kernel from ``prepare``.
        padding: values outside the map: zeros, its edge repeated, or its mirror image.

    Returns:
        [h, w, k].
    """
    return prepared(x, zeros=1) if padding == "zero" else prepared(_pad(x, padding), zeros=0)


def pool(x: FeatureMap, pooling: Pooling) -> Float[Array, "h//2 w//2 c"]:
    """Pool a feature map over 2x2 windows with stride 2; an odd last row or column is dropped.

    Args:
        x: [h, w, c].
        pooling: "max", "average", or "l2", the root of the sum of the four squares.

    Returns:
        [h // 2, w // 2, c].
    """
    h, w, c = x.shape
    windows = x[: h // 2 * 2, : w // 2 * 2].reshape(h // 2, 2, w // 2, 2, c)
    if pooling == "max":
        return _max_pool(windows)
    if pooling == "average":
        return windows.mean(axis=(1, 3))
    # The root has no gradient at zero, and after a ReLU whole windows are zero: the gradient there is set to zero.
    squares = jnp.sum(windows**2, axis=(1, 3))
    return jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1)), 0)


# XLA's gradient of a maximum is six times slower on CPUs, and is shared between equal values. Here, as in PyTorch and
# TensorFlow, the first of the equal values gets all of it.
@jax.custom_vjp
def _max_pool(windows: Float[Array, "h 2 w 2 c"]) -> Float[Array, "h w c"]:
    return windows.max(axis=(1, 3))


def _max_pool_forward(windows: Array):
    y = windows.max(axis=(1, 3))
    return y, (windows, y)


def _max_pool_backward(residuals: tuple[Array, Array], dy: Array):
    windows, y = residuals
    a, b, c = windows[:, 0, :, 0], windows[:, 0, :, 1], windows[:, 1, :, 0]
    smaller = jnp.maximum(a, b) < y
    first = [[a == y, (a < y) & (b == y)], [smaller & (c == y), smaller & (c < y)]]
    return (jnp.stack([jnp.stack([jnp.where(mask, dy, 0) for mask in row], 2) for row in first], 1),)


_max_pool.defvjp(_max_pool_forward, _max_pool_backward)


@jax.custom_vjp
def relu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return ``max(x, 0)``; its gradient needs the output alone, not the input as well."""
    return jnp.maximum(x, 0)


def _relu_forward(x: Array):
    y = jnp.maximum(x, 0)
    return y, y


def _relu_backward(y: Array, dy: Array):
    return (jnp.where(y > 0, dy, 0),)


relu.defvjp(_relu_forward, _relu_backward)
