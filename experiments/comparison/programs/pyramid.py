"""Laplacian pyramids, for programs that resize their levels in different ways."""

from collections.abc import Callable

from torch import Tensor

Resize = Callable[[Tensor, tuple[int, int]], Tensor]


def decompose(picture: Tensor, count: int, resize: Resize) -> list[Tensor]:
    """Return some levels of the pyramid of [1, 3, H, W], from the finest on, and what is left."""
    levels = []
    for _ in range(count):
        height, width = picture.shape[2:]
        half = resize(picture, (max(height // 2, 1), max(width // 2, 1)))
        levels.append(picture - resize(half, (height, width)))
        picture = half
    return [*levels, picture]


def compose(levels: list[Tensor], resize: Resize) -> Tensor:
    """Return the picture of a pyramid."""
    *details, picture = levels
    for detail in reversed(details):
        picture = detail + resize(picture, (detail.shape[2], detail.shape[3]))
    return picture
