"""Optimisers' settings that a source states for a picture on the 0-255 scale, on this package's [0, 1] scale."""

from typing import Any

from nstjax.errors import UserError

_POWERS = {"adam": 1, "rmsprop": 1, "sgd": 2}
"""A picture x = 255 p has a gradient 255 times smaller than p's. Adam and RMSprop divide it by its own size, so a step
of x scales with the rate alone; SGD's scales with the gradient too."""


def from_255(optimiser: str, *, learning_rate: float, epsilon: float | None = None) -> dict[str, Any]:
    """Settings of ``Config`` that move a picture in [0, 1] as the given ones move it on the 0-255 scale.

    Args:
        optimiser: "adam", "rmsprop" or "sgd".
        learning_rate: for the picture on the 0-255 scale.
        epsilon: likewise; added to the root of the mean squared gradient, so in units of the gradient.

    Returns:
        ``{"optimiser": …, "learning_rate": …}`` and, where it was given, ``"epsilon"``.

    Raises:
        UserError: an optimiser that has no learning rate, or SGD with an epsilon.
    """
    if optimiser not in _POWERS:
        raise UserError(f"expected one of {', '.join(_POWERS)}, whose rates depend on the scale, not {optimiser!r}")
    settings: dict[str, Any] = {"optimiser": optimiser, "learning_rate": learning_rate / 255 ** _POWERS[optimiser]}
    if epsilon is not None:
        if optimiser == "sgd":
            raise UserError("SGD has no epsilon")
        settings["epsilon"] = 255 * epsilon
    return settings
