"""The average of the pictures that a run comes through."""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from nstjax.types import Scalar


@functools.partial(jax.tree_util.register_dataclass, data_fields=["total", "weight"], meta_fields=[])
@dataclass(frozen=True)
class Average:
    """An average under way: ``total / weight``, which is what corrects its bias to where it began.

    Reference: Crowson, style-transfer-pytorch; Kingma and Ba 2015, section 3, for the correction.
    """

    total: PyTree
    weight: Scalar

    @classmethod
    def of(cls, parameters: PyTree, decay: float) -> "Average":
        """The average that begins with these."""
        return cls(jax.tree.map(lambda it: (1 - decay) * it, parameters), jnp.float32(1 - decay))

    def followed_by(self, parameters: PyTree, decay: float) -> "Average":
        """The average with one more step."""
        total = jax.tree.map(lambda a, b: decay * a + (1 - decay) * b, self.total, parameters)
        return Average(total, decay * self.weight + (1 - decay))

    @property
    def value(self) -> PyTree:
        """The parameters."""
        return jax.tree.map(lambda it: it / self.weight, self.total)
