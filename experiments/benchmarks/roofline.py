"""How much arithmetic a step of the recipe is, and how fast this machine multiplies matrices."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from peers import recipe

from nstjax.network.architecture import layer


def step_operations(height: int, width: int, shapes: Mapping[str, Sequence[int]]) -> int:
    """Floating-point operations of a step by the direct method, a multiplication and an addition counted as two.

    Convolutions forward and back to their input, Gram matrices F F^T and back to F (one product each, since what comes
    back to a Gram matrix is symmetric). What is not a product of matrices is left out, and so are the targets.

    Args:
        height: of the picture.
        width: of the picture.
        shapes: {convolution: [3, 3, in, out]}.
    """
    products = 0
    for name, (rows, columns, channels_in, channels_out) in shapes.items():
        halvings = layer(name).halvings
        of_position = rows * columns * channels_in * channels_out
        if name in recipe.STYLE_LAYERS:
            of_position += channels_out**2
        products += (height >> halvings) * (width >> halvings) * of_position
    return 2 * 2 * products


def matrix_rate(arithmetic: str, device: Any, *, repeats: int = 5) -> float:
    """Floating-point operations a second in products of large square matrices, through JAX: the best of several.

    Args:
        arithmetic: "float32", "tf32" or "bfloat16".
        device: one of JAX's.
        repeats: how many times.
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
            # A device works through what it is given in order.
            jax.block_until_ready([product(a, b) for _ in range(calls)][-1])
            best = min(best, (time.perf_counter() - begun) / calls)
    return 2 * size**3 / best
