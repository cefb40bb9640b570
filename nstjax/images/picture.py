"""The picture type, after its file has been read."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture and, in a separate array, its transparency.

    Args:
        rgb: float32 [H, W, 3], sRGB, in [0, 1]; not premultiplied.
        alpha: float32 [H, W] in [0, 1], 1 is opaque; None if the whole picture is opaque.
    """

    rgb: Array
    alpha: Array | None = None
