"""Distances lifted from one statistic to a term's: one per layer, weighted."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from nstjax.types import Distance, Key, Scalar


@dataclass(frozen=True)
class LayerSum:
    """``sum_l w_l distance(x_l, t_l)`` over the layers of a term; see ``layer_sum``."""

    distance: Distance
    weights: tuple[tuple[str, float], ...] | None
    mean: bool

    def __call__(self, x: Mapping[str, Any], t: Mapping[str, Any], key: Key | None = None) -> Scalar:
        """The weighted sum or mean, with a key of its own for each layer where the distance takes one."""
        weights = dict(self.weights) if self.weights is not None else dict.fromkeys(x, 1.0)
        if set(weights) != set(x):
            raise ValueError(f"layer weights for {sorted(weights)}, but the statistic has layers {sorted(x)}")
        keys: list[dict[str, Key]] = [{} for _ in x]
        if takes_key(self.distance):
            if key is None:
                raise ValueError(f"{self.distance} draws random numbers: pass key=")
            keys = [{"key": k} for k in jax.random.split(key, len(x))]
        total = sum(weights[it] * self.distance(x[it], t[it], **k) for it, k in zip(x, keys, strict=True))
        return jnp.asarray(total / sum(weights.values()) if self.mean else total)


def layer_sum(distance: Distance, *, weights: Mapping[str, float] | None = None) -> LayerSum:
    """Lift a distance to ``{layer: statistic}``: ``sum_l w_l distance(x_l, t_l)``.

    Args:
        distance: (statistic, target) -> scalar, with a third argument ``key`` where it is stochastic.
        weights: ``{layer: w_l}``; all 1 by default.
    """
    return LayerSum(distance, None if weights is None else tuple(weights.items()), mean=False)


def layer_mean(distance: Distance, *, weights: Mapping[str, float] | None = None) -> LayerSum:
    """Lift a distance to ``{layer: statistic}``: ``sum_l w_l distance(x_l, t_l) / sum_l w_l``."""
    return LayerSum(distance, None if weights is None else tuple(weights.items()), mean=True)


def takes_key(distance: Distance) -> bool:
    """Whether a distance draws random numbers, which it says by having an argument named ``key``."""
    if isinstance(distance, LayerSum):
        return takes_key(distance.distance)
    return "key" in inspect.signature(distance).parameters
