"""Counts by which statistics are divided, found by trying them on small maps."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nstjax.errors import UserError
from nstjax.system.functions import describe_function
from nstjax.types import Statistic


@functools.lru_cache
def find_powers(statistic: Statistic, channels: tuple[tuple[str, int], ...]) -> tuple[list[dict[str, int]], Any]:
    """Find what each leaf of a statistic is divided by: for each layer, the power of its number of positions.

    A sum over positions is divided by nothing but a count, such as the positions of its layer, or of the picture. So a
    map that is the same at all positions shows the count: twice the weights of a layer double the sums over it, and
    twice its positions do so too, unless the sums are divided by them.

    Returns:
        ({layer: power} of each leaf, the structure of the statistic).

    Raises:
        UserError: the statistic is no such sum, or a sum of nothing.
    """
    generator = np.random.default_rng(0)
    vectors = {layer: generator.uniform(0.5, 1.5, count).astype(np.float32) for layer, count in channels}

    def compute(*, tall: str = "", heavy: str = "") -> tuple[list[float], Any]:
        sides = {layer: (8 if layer == tall else 4, 4) for layer in vectors}
        maps = {layer: jnp.broadcast_to(vector, (*sides[layer], len(vector))) for layer, vector in vectors.items()}
        weights = {layer: jnp.full(sides[layer], 2.0 if layer == heavy else 1.0, jnp.float32) for layer in vectors}
        leaves, structure = jax.tree.flatten(statistic(maps, weights=weights))  # type: ignore[arg-type]
        return [float(jnp.sum(jnp.abs(leaf))) for leaf in leaves], structure

    with jax.ensure_compile_time_eval():
        values, structure = compute()
        powers: list[dict[str, int]] = [{} for _ in values]
        for layer in vectors:
            heavy, tall = compute(heavy=layer)[0], compute(tall=layer)[0]
            for leaf, value in enumerate(values):
                power = np.log2(heavy[leaf] / tall[leaf]) if value and tall[leaf] > 0 and heavy[leaf] > 0 else np.nan
                if not abs(power - round(power, 0)) < 1e-3:
                    marked = getattr(statistic, "statistic", statistic)
                    raise UserError(
                        f"{describe_function(marked)} is marked @sums_over_positions, but is no sum over positions "
                        "divided by a count: it cannot be computed by tiles"
                    )
                powers[leaf][layer] = round(power)
    return powers, structure
