"""Conversion of optimiser settings from the 0-255 scale that a source uses to this package's [0, 1] scale."""

from typing import Any

from nstjax.arguments import to_choice, to_number
from nstjax.errors import UserError

_POWERS = {"adam": 1, "rmsprop": 1, "sgd": 2}
"""Powers of 255 that divide the learning rate. For a picture x = 255 p the gradient is 255 times smaller than for p.
Adam and RMSprop divide the gradient by its size, so a step of x scales with the rate alone; SGD's step scales with the
gradient too."""


def from_255(optimiser: str, *, learning_rate: float, epsilon: float | None = None) -> dict[str, Any]:
    """Return settings of ``Config`` that move a picture in [0, 1] as the given ones move it on the 0-255 scale.

    Args:
        optimiser: "adam", "rmsprop", "sgd", or "lbfgs" for L-BFGS without a line search.
        learning_rate: learning rate for a picture on the 0-255 scale.
        epsilon: number added to the root of the mean squared gradient, for a picture on the 0-255 scale.

    Returns:
        ``{"optimiser": …, "learning_rate": …}`` and, if given, ``"epsilon"``. For L-BFGS, which learns the scale from
        its first step: ``{"optimiser": …, "line_search": False, "step_length": …, "first_step": 1 / 255}``.

    Raises:
        UserError: an unknown optimiser, or an epsilon for one that has none.
    """
    optimiser = to_choice("optimiser", optimiser, (*_POWERS, "lbfgs"))
    learning_rate = to_number("learning_rate", learning_rate, least=0)
    if epsilon is not None and optimiser in ("sgd", "lbfgs"):
        raise UserError(f"optimiser {optimiser} has no epsilon")
    if optimiser == "lbfgs":
        return {"optimiser": optimiser, "line_search": False, "step_length": learning_rate, "first_step": 1 / 255}
    settings: dict[str, Any] = {"optimiser": optimiser, "learning_rate": learning_rate / 255 ** _POWERS[optimiser]}
    return settings if epsilon is None else {**settings, "epsilon": 255 * to_number("epsilon", epsilon, least=0)}
