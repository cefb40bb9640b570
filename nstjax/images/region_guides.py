"""Guides: where each region is, as shares of a picture's positions, at the size of a picture or of a feature map."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nstjax.errors import UserError
from nstjax.images.picture import Array
from nstjax.images.regions import Regions, matched

_ROUNDING = 1e-3  # of shares that should sum to 1


def guides(regions: Regions, colours: Sequence[str], height: int, width: int) -> Array:
    """The share of each position that each region covers: averaged over areas to shrink, nearest to enlarge.

    Args:
        regions: of the picture.
        colours: of the regions asked for, in the shades of this mask or of another (``matched`` says which are whose);
            a colour that the mask lacks is nowhere.
        height: of the guides.
        width: of the guides.

    Returns:
        float32 [R, height, width] in [0, 1], one for each of ``colours``; they sum to 1 at each position that no other
        region of the mask has a share of.
    """
    pairs = matched(colours, regions.colours)
    found = np.zeros((len(colours), height, width), np.float32)
    for index, colour in enumerate(colours):
        if colour in pairs:
            inside = (regions.labels == regions.colours.index(pairs[colour])).astype(np.float64)
            found[index] = _sized(_sized(inside, height).T, width).T
    return found


def resized_guides(guides: Array, height: int, width: int) -> Array:
    """Guides [R, H, W] at another size, as ``guides`` would make them there: float32 [R, height, width]."""
    if guides.shape[1:] == (height, width):
        return guides
    each = [_sized(_sized(it.astype(np.float64), height).T, width).T for it in guides]
    return np.stack(each).astype(np.float32)


def check_guides(guides: NDArray) -> None:
    """Guides made elsewhere: whether they share out every position.

    Args:
        guides: float [R, H, W] in [0, 1], with a sum over R of 1, within 1e-3, at each position.

    Raises:
        UserError: another shape or dtype, values out of range, positions with too much or too little.
    """
    if guides.ndim != 3 or guides.size == 0 or not np.issubdtype(guides.dtype, np.floating):
        raise UserError(f"guides are a float array [regions, H, W] in [0, 1], not {guides.dtype} {[*guides.shape]}")
    if not (guides.min() >= 0 and guides.max() <= 1):  # so written, it is true of NaN as well
        raise UserError(f"guides lie in [0, 1], not {guides.min():g} to {guides.max():g}: divide by 255?")
    total = guides.sum(axis=0, dtype=np.float64)
    over, under = (total > 1 + _ROUNDING).mean(), (total < 1 - _ROUNDING).mean()
    if over:
        raise UserError(
            f"regions overlap at {over:.1%} of the positions, where their guides sum to {total.max():g}: "
            "divide the guides by their sum"
        )
    if under:
        raise UserError(
            f"{under:.1%} of the positions are not labelled in full, with guides that sum to {total.min():g}: "
            "add a guide for the rest"
        )


def check_mask_shape(shape: Sequence[int], height: int, width: int, *, name: str = "the mask") -> None:
    """Whether a mask has the shape of its picture; sizes may differ.

    Args:
        shape: (height, width) of the mask.
        height: of the picture, in pixels.
        width: of the picture, in pixels.
        name: of the mask, for the error.

    Raises:
        UserError: with the long sides made equal, the short ones differ by more than 2 %, and by more than a pixel
            of the coarser.
    """
    mask_height, mask_width = shape
    pixel = max(width / mask_width, height / mask_height, 1)  # of the coarser one, to which its sides were rounded
    if height <= width:
        short, expected = height, width * mask_height / mask_width
    else:
        short, expected = width, height * mask_width / mask_height
    if abs(short - expected) > max(0.02 * short, pixel):
        raise UserError(
            f"{name} is {mask_width}x{mask_height}, another shape than its picture's {width}x{height}: "
            "crop or paint it to the picture's"
        )


def _sized(samples_HxW: NDArray[np.float64], height: int) -> NDArray[np.float64]:
    """[height, W]: each row the mean of the part of ``samples`` that it covers, or the nearest sample."""
    old = len(samples_HxW)
    if height >= old:
        return samples_HxW[(2 * np.arange(height) + 1) * old // (2 * height)]
    edges = np.arange(height + 1) * (old / height)
    row = np.minimum(edges.astype(np.intp), old - 1)
    above = np.concatenate([np.zeros_like(samples_HxW[:1]), np.cumsum(samples_HxW, axis=0)])
    integral = above[row] + (edges - row)[:, None] * samples_HxW[row]
    return np.clip(np.diff(integral, axis=0) * (height / old), 0, 1)
