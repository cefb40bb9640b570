"""The arithmetic of a step of the recipe, and the rate at which this machine multiplies matrices."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from nstjax.network.architecture import parse_layer


def count_operations(height: int, width: int, shapes: Mapping[str, Sequence[int]], style_layers: Sequence[str]) -> int:
    """Count the floating-point operations of a step by the direct method; a multiply-add counts as two.

    Counted are convolutions and their gradients with respect to the input, and Gram matrices F F^T and their gradients
    with respect to F (one product each, since the gradient with respect to a Gram matrix is symmetric). Not counted are
    operations that are no matrix products, and the targets.

    Args:
        height: height of the picture.
        width: width of the picture.
        shapes: {convolution: [3, 3, in, out]}.
        style_layers: the convolutions whose Gram matrices are compared.
    """
    products = 0
    for name, (rows, columns, channels_in, channels_out) in shapes.items():
        halvings = parse_layer(name).halvings
        position_products = rows * columns * channels_in * channels_out
        if name in style_layers:
            position_products += channels_out**2
        products += (height >> halvings) * (width >> halvings) * position_products
    return 2 * 2 * products


def measure_matrix_rate(arithmetic: str, device: Any, *, repeats: int = 5) -> float:
    """Measure the floating-point operations per second of JAX's products of large square matrices.

    Args:
        arithmetic: "float32", "tf32" or "bfloat16".
        device: a device of JAX.
        repeats: number of measurements, of which the best counts.
    """
    size, calls = (2048, 1) if device.platform == "cpu" else (8192, 10)
    precision = "high" if arithmetic == "tf32" else "highest"
    keys = jax.random.split(jax.random.key(0))
    product = jax.jit(lambda a, b: jnp.matmul(a, b, precision=precision))
    with jax.default_device(device):
        dtype = jnp.bfloat16 if arithmetic == "bfloat16" else jnp.float32
        a, b = (jax.random.normal(key, (size, size), dtype) for key in keys)
        jax.block_until_ready(product(a, b))
        best = float("inf")
        for _ in range(repeats):
            begun = time.perf_counter()
            # A device computes in order, so waiting for the last product is enough.
            jax.block_until_ready([product(a, b) for _ in range(calls)][-1])
            best = min(best, (time.perf_counter() - begun) / calls)
    return 2 * size**3 / best
