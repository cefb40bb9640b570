"""A program of a user, as a type checker sees it: pyright reads this file, nobody runs it.

Each mistake below carries a comment that silences its error; a comment that silences nothing is an error itself.
"""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true, reportUnusedExpression=false, reportMissingTypeStubs=false

from dataclasses import dataclass
from typing import assert_type

import jax
import jax.numpy as jnp

import nstjax

result = nstjax.stylize("content.jpg", "style.jpg", size=256)
assert_type(result, nstjax.Result)
assert_type(result.steps, int)
nstjax.stylize("content.jpg")  # pyright: ignore[reportCallIssue]
nstjax.resume("runs/1", step=3)  # pyright: ignore[reportCallIssue]
nstjax.no_such_function()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]

config = nstjax.Config(layers={"style": ("relu1_1",)}, loss_weights={"style": 1.0})
assert_type(config.total_steps, int)


def moments(features_HxWxC: jax.Array) -> jax.Array:
    """Return the mean and the variance of each channel."""
    return jnp.stack([features_HxWxC.mean((0, 1)), features_HxWxC.var((0, 1))])


@dataclass(frozen=True)
class Scaled:
    """A distance with a parameter."""

    scale: float

    def __call__(self, x: jax.Array, t: jax.Array) -> jax.Array:
        """Return the scaled squared error."""
        return self.scale * jnp.sum((x - t) ** 2)


style = nstjax.style_term(("relu1_1",), moments, nstjax.layer_sum(Scaled(2.0)))
assert_type(style, nstjax.Term)
assert_type(nstjax.Objective((style,)), nstjax.Objective)
