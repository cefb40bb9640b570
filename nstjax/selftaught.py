"""The network that needs no file, learnt from the two pictures; not here yet."""

from collections.abc import Callable

import numpy as np

from nstjax.errors import UserError
from nstjax.weights import Weights


def learn(
    content: np.ndarray,
    style: np.ndarray,
    *,
    seed: int,
    deepest: str = "block4_conv1",
    progress: Callable[[int, int, str], object] | None = None,
    known: Weights | None = None,
) -> Weights:
    """Not here yet."""
    raise UserError("the self-taught network is not here yet: name some weights with --weights")
