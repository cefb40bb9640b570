"""Guides: the share of each position that each region covers, at the size of a picture or of a feature map."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nstjax.errors import UserError
from nstjax.images.picture import Array
from nstjax.images.regions import Regions, pair_colours
from nstjax.images.resizing import split_rows

_ROUNDING = 1e-3  # tolerance of the sum of shares, which should be 1


def make_guides(regions: Regions, colours: Sequence[str], height: int, width: int) -> Array:
    """Return the share of each position that each region covers: area average to shrink, nearest to enlarge.

    Args:
        regions: the regions of the picture.
        colours: the colours of the wanted regions, in the shades of this mask or of another (see ``pair_colours``);
            a colour that the mask lacks gives zeros.
        height: height of the guides.
        width: width of the guides.

    Returns:
        float32 [R, height, width] in [0, 1], one for each of ``colours``; they sum to 1 wherever no other region of
        the mask has a share.
    """
    pairs = pair_colours(colours, regions.colours)
    guides = np.zeros((len(colours), height, width), np.float32)
    for index, colour in enumerate(colours):
        if colour in pairs:
            inside = regions.labels == regions.colours.index(pairs[colour])
            guides[index] = _resize_rows(_resize_rows(inside, height).T, width).T
    return guides


def resize_guides(guides: Array, height: int, width: int) -> Array:
    """Resize guides [R, H, W] to float32 [R, height, width], equal to what ``make_guides`` gives at that size."""
    if guides.shape[1:] == (height, width):
        return guides
    resized = [_resize_rows(_resize_rows(guide, height).T, width).T for guide in guides]
    return np.stack(resized).astype(np.float32)


def check_guides(guides: NDArray) -> None:
    """Raise unless guides from the user sum to 1 at every position.

    Args:
        guides: float [R, H, W] in [0, 1]; the sum over R is 1, within 1e-3, at each position.

    Raises:
        UserError: the shape or dtype is another, values are out of range, or a sum is too large or too small.
    """
    if guides.ndim != 3 or guides.size == 0 or not np.issubdtype(guides.dtype, np.floating):
        raise UserError(
            f"expected guides as a float array [regions, H, W] in [0, 1], got {guides.dtype} {[*guides.shape]}"
        )
    if not (guides.min() >= 0 and guides.max() <= 1):  # written this way, the test catches NaN too
        raise UserError(f"expected guides in [0, 1], got {guides.min():g} to {guides.max():g}: divide by 255?")
    total = guides.sum(axis=0, dtype=np.float64)
    over, under = (total > 1 + _ROUNDING).mean(), (total < 1 - _ROUNDING).mean()
    if over:
        raise UserError(
            f"regions overlap at {over:.1%} of the positions, where their guides sum to as much as {total.max():g}: "
            "divide the guides by their sum"
        )
    if under:
        raise UserError(
            f"guides do not cover {under:.1%} of the positions, where they sum to as little as {total.min():g}: "
            "add a guide for the rest"
        )


def check_mask_shape(shape: Sequence[int], height: int, width: int, *, name: str = "the mask") -> None:
    """Raise unless a mask has the aspect ratio of its picture; sizes may differ.

    Args:
        shape: (height, width) of the mask.
        height: of the picture, in pixels.
        width: of the picture, in pixels.
        name: how the error calls the mask.

    Raises:
        UserError: with the long sides scaled to be equal, the short ones differ by more than 2 % and by more than one
            pixel of the coarser picture.
    """
    mask_height, mask_width = shape
    pixel = max(width / mask_width, height / mask_height, 1)  # of the coarser one, whose sides were rounded to it
    if height <= width:
        short, expected = height, width * mask_height / mask_width
    else:
        short, expected = width, height * mask_width / mask_height
    if abs(short - expected) > max(0.02 * short, pixel):
        raise UserError(
            f"{name} is {mask_width}x{mask_height}, another shape than its picture's {width}x{height}: "
            "crop it, or paint it in the picture's shape"
        )


def _resize_rows(samples_HxW: NDArray, height: int) -> NDArray[np.float64]:
    """Return [height, W]: each row is the mean of the samples it covers, or to enlarge, the nearest sample."""
    old, width = samples_HxW.shape
    if height >= old:
        return samples_HxW[(2 * np.arange(height) + 1) * old // (2 * height)].astype(np.float64)
    edges = np.arange(height + 1) * (old / height)
    row = np.minimum(edges.astype(np.intp), old - 1)
    resized_hxW = np.empty((height, width))
    for columns in split_rows(width, old):  # bands of columns, so that sums in float64 take little memory
        samples = samples_HxW[:, columns].astype(np.float64)
        above = np.concatenate([np.zeros_like(samples[:1]), np.cumsum(samples, axis=0)])
        integral = above[row] + (edges - row)[:, None] * samples[row]
        resized_hxW[:, columns] = np.clip(np.diff(integral, axis=0) * (height / old), 0, 1)
    return resized_hxW
