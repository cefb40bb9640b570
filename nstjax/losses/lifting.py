"""Distances of one statistic, lifted to a statistic per layer: a weighted sum or mean over the layers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from nstjax.arguments import to_mapping, to_number
from nstjax.losses.results import check_scalar
from nstjax.system.functions import has_argument
from nstjax.types import Distance, Key, Scalar


@dataclass(frozen=True)
class LayerSum:
    """The weighted sum or mean of a distance over layers; see ``layer_sum`` and ``layer_mean``.

    Args:
        distance: (statistic, target) -> scalar, with a third argument ``key`` if it draws random numbers.
        weights: pairs (layer, w_l); None: 1 for each layer.
        mean: divide the sum by ``sum_l w_l``.
    """

    distance: Distance
    weights: tuple[tuple[str, float], ...] | None
    mean: bool

    def __post_init__(self):
        if self.weights is not None:
            numbers = ((layer, to_number(f"the weight of {layer}", weight)) for layer, weight in self.weights)
            object.__setattr__(self, "weights", tuple(numbers))

    def __call__(self, x: Mapping[str, Any], t: Mapping[str, Any], key: Key | None = None) -> Scalar:
        """Return the weighted sum or mean of the layers' distances.

        Args:
            x: {layer: statistic}.
            t: {layer: target}.
            key: split into one key for each layer; needed only if the distance draws random numbers.

        Raises:
            ValueError: the weights are for other layers than the statistic's, or a key is missing.
        """
        weights = dict(self.weights) if self.weights is not None else dict.fromkeys(x, 1.0)
        if set(weights) != set(x):
            raise ValueError(
                f"the layer weights are for {sorted(weights)}, but the statistic has the layers {sorted(x)}: "
                "give one weight for each layer"
            )
        keys: list[Key | None] = [None] * len(x)
        if takes_key(self.distance) and key is not None:
            keys = [*jax.random.split(key, len(x))]
        total = sum(
            weights[layer] * call_distance(self.distance, x[layer], t[layer], layer_key)
            for layer, layer_key in zip(x, keys, strict=True)
        )
        return jnp.asarray(total / sum(weights.values()) if self.mean else total)


def layer_sum(distance: Distance, *, weights: Mapping[str, float] | None = None) -> LayerSum:
    """Lift a distance to ``{layer: statistic}``, as a sum over layers: ``sum_l w_l distance(x_l, t_l)``.

    Args:
        distance: (statistic, target) -> scalar, with a third argument ``key`` if it draws random numbers.
        weights: {layer: w_l}; all 1 by default.
    """
    return LayerSum(distance, _list_weights(weights), mean=False)


def layer_mean(distance: Distance, *, weights: Mapping[str, float] | None = None) -> LayerSum:
    """Lift a distance to ``{layer: statistic}``, as a mean over layers: ``sum_l w_l distance(x_l, t_l) / sum_l w_l``.

    Args:
        distance: (statistic, target) -> scalar, with a third argument ``key`` if it draws random numbers.
        weights: {layer: w_l}; all 1 by default.
    """
    return LayerSum(distance, _list_weights(weights), mean=True)


def _list_weights(weights: Any) -> tuple[tuple[str, float], ...] | None:
    return None if weights is None else tuple(to_mapping("weights", weights).items())


def takes_key(distance: Distance) -> bool:
    """Return whether a distance draws random numbers: whether it has an argument named ``key``."""
    if isinstance(distance, LayerSum):
        return takes_key(distance.distance)
    return has_argument(distance, "key")


def call_distance(distance: Distance, x: Any, t: Any, key: Key | None) -> Scalar:
    """Return the distance of a statistic from its target.

    Args:
        distance: the distance.
        x: the statistic.
        t: the target.
        key: random key; needed only if the distance draws random numbers.

    Raises:
        UserError: the distance does not return a scalar.
        ValueError: the key is missing.
    """
    t = _order_alike(t, x)
    if not takes_key(distance):
        return check_scalar(distance(x, t), distance)
    if key is None:
        raise ValueError(f"{distance} draws random numbers: pass key=")
    return check_scalar(distance(x, t, key=key), distance)


def _order_alike(tree: Any, example: Any) -> Any:
    """Return a tree with the keys of its dicts in the order of an example's.

    A target that has passed through ``jax.jit`` has sorted keys, while a distance may rely on the order of the layers.
    """
    if not isinstance(tree, Mapping) or not isinstance(example, Mapping) or tree.keys() != example.keys():
        return tree
    return {name: _order_alike(tree[name], value) for name, value in example.items()}
