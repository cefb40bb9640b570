"""The masks of a run's pictures: files, colours or arrays -> which region each position belongs to."""

import os
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from nstjax import images
from nstjax.errors import UserError

Mask: TypeAlias = str | os.PathLike[str] | np.ndarray
Shape: TypeAlias = Sequence[int]


def guides(
    content: Mask,
    styles: Sequence[Mask],
    shape: Shape,
    style_shapes: Sequence[Shape],
    *,
    pixel_limit: int = images.PIXEL_LIMIT,
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """The share of each position that each region covers, of the content and of each style.

    Args:
        content: a picture's file, in which each region has a colour of its own; a colour, as black or #ff0000, where
            the whole is one region; or an array [R, h, w] of shares that add up to 1.
        styles: likewise, a mask of each style. A region is that of the same colour; in arrays, of the same index.
        shape: (H, W) of the content.
        style_shapes: of each style.
        pixel_limit: refuse masks with more pixels than this.

    Returns:
        (float32 [R, H, W], one [R, H', W'] for each style); a style that lacks a region is 0 there.

    Raises:
        UserError: a mask that is none or does not fit its picture, or a region of the content that no style has.
    """
    every, shapes = [content, *styles], [shape, *style_shapes]
    names = ["the content mask", *(f"the mask of style {k}" for k in range(1, len(every)))]
    if any(isinstance(it, np.ndarray) for it in every):
        return _of_arrays(every, shapes, names)
    regions = []
    for mask, (height, width), name in zip(every, shapes, names, strict=True):
        found = _read(mask, height, width, pixel_limit)
        images.check_mask_shape(found.labels.shape, height, width, name=name)
        regions.append(found)
    colours = images.common_regions(regions[0], regions[1:])
    first, *rest = (images.guides(it, colours, *size) for it, size in zip(regions, shapes, strict=True))
    return first, tuple(rest)


def _read(mask: Mask, height: int, width: int, pixel_limit: int) -> images.Regions:
    assert not isinstance(mask, np.ndarray)
    if isinstance(mask, str) and not os.path.exists(mask) and not os.path.splitext(mask)[1]:
        return images.uniform_regions(mask, height, width)
    return images.read_regions(mask, limit=pixel_limit)


def _of_arrays(
    every: Sequence[Mask], shapes: Sequence[Shape], names: Sequence[str]
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    found: list[np.ndarray] = []
    for mask, shape, name in zip(every, shapes, names, strict=True):
        if not isinstance(mask, np.ndarray):
            raise UserError(f"either all masks are arrays or none: {name} is {mask}")
        if found and mask.ndim == 3 and len(mask) != len(found[0]):
            raise UserError(
                f"all masks must have the same regions: {name} has {len(mask)}, the content {len(found[0])}"
            )
        try:
            images.check_guides(mask)
        except UserError as error:
            raise UserError(f"{name}: {error}") from None
        images.check_mask_shape(mask.shape[1:], *shape, name=name)
        found.append(images.resized_guides(mask.astype(np.float32), *shape))
    return found[0], tuple(found[1:])
