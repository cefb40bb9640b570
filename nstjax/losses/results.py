"""Results of distances, statistics and losses that others have written, checked when an objective is traced."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nstjax.errors import UserError
from nstjax.statistics import PerLayer
from nstjax.system.functions import describe_function
from nstjax.types import Statistic

_NUMBERS = (jax.Array, np.ndarray, np.generic, float, int)


def check_scalar(value: Any, function: Any) -> Any:
    """Return the value of a distance or a loss, after a check.

    Raises:
        UserError: the value is no real scalar; the line says where the function is defined.
    """
    if not isinstance(value, _NUMBERS):
        came = "None: is its return missing?" if value is None else type(value).__name__
    elif jnp.shape(value):
        came = f"an array of shape {[*jnp.shape(value)]}: sum it, or take its mean"
    elif jnp.iscomplexobj(value):
        came = "a complex number"
    else:
        return value
    raise UserError(f"{describe_function(function)} must return a scalar, not {came}")


def check_statistic(value: Any, statistic: Statistic) -> Any:
    """Return the value of a statistic, after a check.

    Raises:
        UserError: the value is no tree of arrays; the line says where the statistic is defined.
    """
    leaves = jax.tree.leaves(value)
    if leaves and all(isinstance(leaf, _NUMBERS) for leaf in leaves):
        return value
    function = statistic.statistic if isinstance(statistic, PerLayer) else statistic
    came = type(leaves[0]).__name__ if leaves else "None: is its return missing?"
    raise UserError(f"{describe_function(function)} must return arrays, not {came}")
