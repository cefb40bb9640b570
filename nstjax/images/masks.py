"""Masks of a run's pictures: files, colours or arrays -> guides that say where each region is."""

import os
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from nstjax import images
from nstjax.errors import UserError

Mask: TypeAlias = str | os.PathLike[str] | np.ndarray
Shape: TypeAlias = Sequence[int]


def prepare_guides(
    content: Mask,
    styles: Sequence[Mask],
    shape: Shape,
    style_shapes: Sequence[Shape],
    *,
    pixel_limit: int = images.PIXEL_LIMIT,
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Return the share of each position that each region covers, for the content and for each style.

    Args:
        content: a picture file in which each region has one flat colour; a colour such as black or #ff0000, if the
            whole picture is one region; or an array [R, h, w] of shares that sum to 1 over R.
        styles: a mask for each style, in the same forms. Equal colours mean the same region; in arrays, equal indices.
        shape: (H, W) of the content.
        style_shapes: (H', W') of each style.
        pixel_limit: refuse masks with more pixels than this.

    Returns:
        (float32 [R, H, W], one [R, H', W'] for each style); zeros for a region that a style lacks.

    Raises:
        UserError: a mask is invalid or does not fit its picture, or a region of the content is in no style.
    """
    masks, shapes = [content, *styles], [shape, *style_shapes]
    names = ["the content mask", *(f"the mask of style {k}" for k in range(1, len(masks)))]
    if any(isinstance(mask, np.ndarray) for mask in masks):
        return _prepare_arrays(masks, shapes, names)
    regions: list[images.Regions] = []
    for mask, (height, width), name in zip(masks, shapes, names, strict=True):
        regions.append(_read_regions(mask, height, width, pixel_limit))
        images.check_mask_shape(regions[-1].labels.shape, height, width, name=name)
    colours = images.find_common_colours(regions[0], regions[1:])
    sized_regions = zip(regions, shapes, strict=True)
    content_guides, *style_guides = (images.make_guides(region, colours, *size) for region, size in sized_regions)
    return content_guides, tuple(style_guides)


def hide_guides(
    guides: np.ndarray, style_guides: Sequence[np.ndarray], alphas: Sequence[np.ndarray | None]
) -> tuple[np.ndarray, ...]:
    """Return the regions of each style without its transparent areas.

    Args:
        guides: regions of the content, [R, H, W].
        style_guides: regions of each style, [R, H', W'].
        alphas: transparency of each style, [H', W'] or None; empty if all styles are opaque.

    Raises:
        UserError: a region of the content is fully transparent in every style.
    """
    if not alphas:
        return tuple(style_guides)
    hidden = tuple(
        regions if alpha is None else regions * alpha for regions, alpha in zip(style_guides, alphas, strict=True)
    )
    for region, inside in enumerate(guides):
        if inside.any() and not any(regions[region].any() for regions in hidden):
            raise UserError(
                f"region {region + 1} of {len(guides)} (in the order of their colours) is fully transparent in the "
                "style: paint its mask where the style is visible"
            )
    return hidden


def _read_regions(mask: Mask, height: int, width: int, pixel_limit: int) -> images.Regions:
    assert not isinstance(mask, np.ndarray)
    if isinstance(mask, str) and not os.path.exists(mask) and not os.path.splitext(mask)[1]:
        return images.make_uniform_regions(mask, height, width)
    return images.read_regions(mask, limit=pixel_limit)


def _prepare_arrays(
    masks: Sequence[Mask], shapes: Sequence[Shape], names: Sequence[str]
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    guides: list[np.ndarray] = []
    for mask, shape, name in zip(masks, shapes, names, strict=True):
        if not isinstance(mask, np.ndarray):
            raise UserError(f"expected either all masks or none as arrays, but {name} is {mask}")
        if guides and mask.ndim == 3 and len(mask) != len(guides[0]):
            raise UserError(
                f"all masks must have the same regions: {name} has {len(mask)}, the content mask {len(guides[0])}"
            )
        try:
            images.check_guides(mask)
        except UserError as error:
            raise UserError(f"{name}: {error}") from None
        images.check_mask_shape(mask.shape[1:], *shape, name=name)
        guides.append(images.resize_guides(mask.astype(np.float32), *shape))
    return guides[0], tuple(guides[1:])
