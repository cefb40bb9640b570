"""Region masks: pictures whose flat colours label the regions of another picture.

Painted masks may have anti-aliased edges or be JPEGs. A solid colour identifies a region; every other pixel goes to
the region whose colour is nearest.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ImageColor

from nstjax.errors import UserError
from nstjax.images.opening import PIXEL_LIMIT
from nstjax.images.picture import Array
from nstjax.images.reading import read
from nstjax.images.resizing import split_rows

# These values were measured on two real pairs of masks and on eight photographs and paintings. With them the painted
# regions are found in the masks unchanged, shrunk to 150 pixels, blurred, and as JPEGs of quality 95 to 30, and the
# photographs and paintings are refused. Known failure: a mask with soft edges that was enlarged without interpolation
# may keep a shade of an edge as a region.
SAME_REGION_DISTANCE = 32.0
"""Largest distance in RGB, 0 to 255, of two colours of the same region: JPEG changes colours, and painters err."""

_CODES = 1 << 24  # number of colours of 8 bits a channel
_MOST_REGIONS = 32
_SOLID_RANGE = 8  # levels by which a channel may vary over 3x3 solid pixels; edges and textures vary more
_LEAST_SOLID_SHARE = 2e-4  # of the picture, for a region's solid pixels; a few look solid where edges cross
_STRAY_DISTANCE = 8.0  # in RGB from the region's colour; pixels further away belong to an edge or a photograph
_LEAST_FLAT_SHARE = 0.45  # of the pixels of similar colour that are not stray: 0.48 or more in regions, < 0.4 in edges
_MOST_STRAY_SHARE = 0.25  # of the picture: 0.20 or less in masks (150 pixels, quality 75), 0.43 or more in photographs


@dataclass(frozen=True, eq=False)
class Regions:
    """The regions of a picture.

    Args:
        labels: uint8 [H, W], the index into ``colours`` of each pixel's region.
        colours: the colour of each region as "#rrggbb", sorted.
    """

    labels: NDArray[np.uint8]
    colours: tuple[str, ...]

    def shares(self) -> tuple[float, ...]:
        """Return the share of the picture that each region covers, in the order of ``colours``."""
        return tuple(np.count_nonzero(self.labels == k) / self.labels.size for k in range(len(self.colours)))


def read_regions(path: str | os.PathLike[str], *, limit: int = PIXEL_LIMIT) -> Regions:
    """Read a region mask from a file; each flat colour is one region.

    A region is at least three pixels wide somewhere, and its colour is more than 32 levels (RGB distance, 0 to 255)
    from every other; colours closer than that belong to one region, and edge pixels go to the nearer of two regions.

    Args:
        path: a picture file without transparency.
        limit: the largest number of pixels.

    Raises:
        UserError: the file is not a picture, or the picture is not a mask: it is a photograph, is transparent, has
            more than 32 regions, or its colours are too similar.
    """
    picture = read(path, limit=limit)
    if picture.alpha is not None:
        raise UserError(
            f"{path} is partly transparent: expected a mask with a colour everywhere; fill the transparent parts"
        )
    try:
        return find_regions(picture.rgb)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def find_regions(rgb: Array) -> Regions:
    """Find the regions in a mask given as an array, as ``read_regions`` does for a file.

    Args:
        rgb: float32 [H, W, 3] in [0, 1].

    Raises:
        UserError: the picture is not a mask.
    """
    codes, counts, solid = _count_colours(rgb)
    colours_Kx3 = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=-1).astype(np.float64)
    main = sorted(_find_main_colours(colours_Kx3, counts, solid))
    nearest, distances = _find_nearest(colours_Kx3, colours_Kx3[main])
    stray = counts[distances > _STRAY_DISTANCE].sum() / counts.sum()
    expected = f"expected a mask with 1 to {_MOST_REGIONS} flat colours that label the regions"
    if len(main) > _MOST_REGIONS:
        raise UserError(f"{expected}, but it has more: paint fewer regions")
    if stray > _MOST_STRAY_SHARE:
        raise UserError(f"{expected}, but {stray:.0%} of its pixels have none of them: is it a photograph?")
    if len(main) == 1 and len(codes) > 1 and distances.max() <= SAME_REGION_DISTANCE:
        raise UserError(
            f"{expected}, but its {len(codes)} colours are too similar: paint regions in clearly different colours"
        )
    return Regions(_label(rgb, codes, nearest.astype(np.uint8)), tuple(f"#{codes[i]:06x}" for i in main))


def make_uniform_regions(colour: str, height: int, width: int) -> Regions:
    """Return a single region that covers the whole picture.

    Args:
        colour: a name ("black"), "#rrggbb", or any other CSS colour.
        height: of the picture, in pixels.
        width: of the picture, in pixels.

    Raises:
        UserError: the colour is unknown.
    """
    try:
        red, green, blue = ImageColor.getrgb(colour)[:3]
    except ValueError:
        raise UserError(
            f"expected a mask file or the colour of a region, such as black or #ff0000, got {colour!r}"
        ) from None
    return Regions(np.zeros((height, width), np.uint8), (f"#{red:02x}{green:02x}{blue:02x}",))


def find_common_colours(content: Regions, styles: Sequence[Regions]) -> tuple[str, ...]:
    """Return the colours of the content mask's regions, after checking that each region is in some style mask.

    The shades of a colour may differ slightly between masks (see ``pair_colours``). Regions that are only in a style
    mask are not used.

    Args:
        content: regions of the content mask.
        styles: regions of each style mask.

    Returns:
        The content's colours, for ``make_guides`` of the content and of the styles.

    Raises:
        UserError: a region of the content is in no style mask.
    """
    common = {colour for style in styles for colour in pair_colours(content.colours, style.colours)}
    for colour, share in zip(content.colours, content.shares(), strict=True):
        if colour not in common:
            style_colours = ", ".join(sorted({style_colour for style in styles for style_colour in style.colours}))
            raise UserError(
                f"region {colour} of the content mask ({share:.1%} of the picture) is in no style mask; their regions "
                f"are {style_colours}: paint it in a style mask, or give it one of these colours"
            )
    return content.colours


def pair_colours(colours: Sequence[str], others: Sequence[str]) -> dict[str, str]:
    """Pair each colour of one mask with the colour of the same region in another mask, one to one, nearest first.

    Args:
        colours: colours of one mask, as "#rrggbb".
        others: colours of the other mask, as "#rrggbb".

    Returns:
        Colour to other colour, without the colours that have none within ``SAME_REGION_DISTANCE``.
    """
    distances = np.linalg.norm(_parse_colours(colours)[:, None] - _parse_colours(others)[None], axis=-1)
    pairs: dict[str, str] = {}
    for flat_index in np.argsort(distances, axis=None, kind="stable"):
        i, j = divmod(int(flat_index), len(others))
        near = distances[i, j] <= SAME_REGION_DISTANCE
        if near and colours[i] not in pairs and others[j] not in pairs.values():
            pairs[colours[i]] = others[j]
    return pairs


def _parse_colours(colours: Sequence[str]) -> NDArray[np.float64]:
    return np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in colours], np.float64)


def _count_colours(rgb: Array) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Return the colours of a picture as sorted codes [K], and how many of its pixels, and solid pixels, have each."""
    counts, solid_counts = np.zeros(_CODES, np.int32), np.zeros(_CODES, np.int32)
    for rows in split_rows(*rgb.shape[:2]):
        first = max(rows.start - 1, 0)  # one row more on each side, whose neighbours decide what is solid
        levels = _to_levels(rgb[first : rows.stop + 1])
        inner = slice(rows.start - first, rows.stop - first)
        packed, solid = _pack(levels)[inner], _find_solid(levels)[inner]
        for table, codes in ((counts, packed), (solid_counts, packed[solid])):
            present, numbers = np.unique(codes, return_counts=True)
            table[present] += numbers.astype(np.int32)
    codes = np.flatnonzero(counts)
    return codes, counts[codes], solid_counts[codes]


def _label(rgb: Array, codes: NDArray[np.int64], labels_K: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the label [H, W] of each pixel, from the label of each colour."""
    label_of_code = np.zeros(_CODES, np.uint8)
    label_of_code[codes] = labels_K
    labels = np.empty(rgb.shape[:2], np.uint8)
    for rows in split_rows(*rgb.shape[:2]):
        labels[rows] = label_of_code[_pack(_to_levels(rgb[rows]))]
    return labels


def _to_levels(rgb: Array) -> NDArray[np.uint8]:
    return np.rint(rgb * 255).astype(np.uint8)


def _pack(levels: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Return the code of each colour, red first, of 8 bits each."""
    return levels.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)


def _find_solid(levels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return [H, W], True where the 3x3 pixels around a pixel have nearly the same colour."""
    padded = np.pad(levels, [(1, 1), (1, 1), (0, 0)], mode="edge")

    def reduce_windows(extreme: np.ufunc) -> NDArray[np.uint8]:  # rows, then columns: 30 times faster than windows
        rows = extreme(extreme(padded[:-2], padded[1:-1]), padded[2:])
        return extreme(extreme(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])

    return (reduce_windows(np.maximum) - reduce_windows(np.minimum)).max(axis=-1) <= _SOLID_RANGE


def _find_main_colours(colours_Kx3: NDArray[np.float64], counts_K: NDArray, solid_K: NDArray) -> list[int]:
    """Return the indices of the colours that label regions.

    The first is the colour with the most solid pixels, the next is the first among those not similar to it, and so on.
    """
    remaining = solid_K.copy()
    main: list[int] = []
    while len(main) <= _MOST_REGIONS and remaining.sum() > 0:
        most_solid = int(remaining.argmax())
        distances = np.linalg.norm(colours_Kx3 - colours_Kx3[most_solid], axis=-1)
        similar = distances <= SAME_REGION_DISTANCE
        flat = counts_K[distances <= _STRAY_DISTANCE].sum() / counts_K[similar].sum()
        if flat >= _LEAST_FLAT_SHARE and remaining[similar].sum() >= _LEAST_SOLID_SHARE * counts_K.sum():
            main.append(most_solid)
        remaining[similar] = 0
    return main


def _find_nearest(
    colours_Kx3: NDArray[np.float64], main_Rx3: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return the index of the main colour nearest to each colour, and the distance, infinite if there is none."""
    nearest = np.zeros(len(colours_Kx3), np.intp)
    distances = np.full(len(colours_Kx3), np.inf)
    for index, colour in enumerate(main_Rx3):
        distances_to_colour = np.linalg.norm(colours_Kx3 - colour, axis=-1)
        closer = distances_to_colour < distances
        nearest[closer], distances[closer] = index, distances_to_colour[closer]
    return nearest, distances
