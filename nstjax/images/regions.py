"""Region masks: pictures whose flat colours label the regions of another picture.

Masks come as they are painted: with anti-aliased edges, or as JPEGs. A region is known by its solid colour; all other
pixels go to the region of the nearest one.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ImageColor

from nstjax.errors import UserError
from nstjax.images.picture import Array
from nstjax.images.reading import PIXEL_LIMIT, read

# Measured on two real pairs of masks, as they are, shrunk to 150 pixels, blurred, and as JPEGs of quality 95 to 30, in
# each of which these find the regions painted, and on eight photographs and paintings, which they refuse. Known to
# fail: a mask with soft edges that was enlarged without interpolation may keep one of the edges' shades as a region.
ALIKE = 32.0
"""Distance in RGB, of 0 to 255, up to which two colours are the same region's: a JPEG's, or a slip of the painter's."""

_MOST_REGIONS = 32
_SOLID = 8  # levels by which a channel may vary over 3x3 pixels that count as solid; edges and textures vary more
_LEAST_SHARE = 2e-4  # of the picture, for a region's solid pixels; a crossing of edges may look solid for a few
_STRAY = 8.0  # distance in RGB from the region's colour, beyond which a pixel is an edge's or a photograph's
_LEAST_FLAT = 0.45  # share, of the pixels alike, that is not stray: at least 0.48 in regions, below 0.4 in wide edges
_MOST_STRAY = 0.25  # of the picture: at most 0.20 in masks (150 pixels, quality 75), at least 0.43 in photographs


@dataclass(frozen=True, eq=False)
class Regions:
    """The regions of a picture.

    Args:
        labels: uint8 [H, W], of each pixel the index of its region's colour.
        colours: of each region, as "#rrggbb", sorted.
    """

    labels: NDArray[np.uint8]
    colours: tuple[str, ...]

    def shares(self) -> tuple[float, ...]:
        """Of the picture, by region, in the order of the colours."""
        counts = np.bincount(self.labels.ravel(), minlength=len(self.colours))
        return tuple((counts / self.labels.size).tolist())


def read_regions(path: str | os.PathLike[str], *, limit: int = PIXEL_LIMIT) -> Regions:
    """The regions that a mask's file paints, each in a flat colour of its own.

    A region is at least three pixels wide somewhere, and its colour more than 32 levels (in RGB, of 0 to 255) from
    every other's; near-identical colours are one region's, and edges that blend two go to the nearer.

    Args:
        path: of a picture without transparency.
        limit: the most pixels it may have.

    Raises:
        UserError: the file is no picture, or the picture no mask: a photograph, a transparent one, one of more than 32
            regions, or of colours that are all alike.
    """
    picture = read(path, limit=limit)
    if picture.alpha is not None:
        raise UserError(
            f"{path} is transparent in places: expected a mask with a colour everywhere; give them one of their own"
        )
    try:
        return regions_of(picture.rgb)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def regions_of(rgb: Array) -> Regions:
    """The regions that a picture paints, as ``read_regions`` finds them in a file.

    Args:
        rgb: float32 [H, W, 3] in [0, 1].

    Raises:
        UserError: the picture is no mask.
    """
    levels = np.rint(rgb * 255).astype(np.uint8)
    packed = levels.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
    codes, inverse, counts = np.unique(packed, return_inverse=True, return_counts=True)
    colours_Kx3 = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=-1).astype(np.float64)
    solid = np.bincount(inverse.ravel(), _solid(levels).ravel(), len(codes))
    main = sorted(_main_colours(colours_Kx3, counts, solid))
    nearest, distances = _nearest(colours_Kx3, colours_Kx3[main])
    stray = counts[distances > _STRAY].sum() / packed.size
    expected = f"expected a mask, of 1 to {_MOST_REGIONS} flat colours that label the regions"
    if len(main) > _MOST_REGIONS:
        raise UserError(f"{expected}, but it has more: paint fewer regions")
    if stray > _MOST_STRAY:
        raise UserError(f"{expected}, but {stray:.0%} of its pixels belong to none: is it a photograph?")
    if len(main) == 1 and len(codes) > 1 and distances.max() <= ALIKE:
        raise UserError(
            f"{expected}, but its {len(codes)} colours are all alike: paint regions in clearly different ones"
        )
    return Regions(nearest.astype(np.uint8)[inverse].reshape(packed.shape), tuple(f"#{codes[i]:06x}" for i in main))


def uniform_regions(colour: str, height: int, width: int) -> Regions:
    """A picture's whole as one region.

    Args:
        colour: a name ("black"), "#rrggbb", or whatever else CSS takes.
        height: of the picture, in pixels.
        width: of the picture, in pixels.

    Raises:
        UserError: no such colour.
    """
    try:
        red, green, blue = ImageColor.getrgb(colour)[:3]
    except ValueError:
        raise UserError(f"expected a region's colour, as black or #ff0000, got {colour!r}") from None
    return Regions(np.zeros((height, width), np.uint8), (f"#{red:02x}{green:02x}{blue:02x}",))


def common_regions(content: Regions, styles: Sequence[Regions]) -> tuple[str, ...]:
    """The colours of the content mask's regions, each of which some style mask has too.

    Masks may have slightly different shades of a colour (``matched`` says which are whose). Regions that only a style
    mask has stay unused.

    Args:
        content: of the content mask.
        styles: of each style mask.

    Returns:
        The content's colours, for ``guides`` of the content and of the styles.

    Raises:
        UserError: a region of the content has no colour in any style mask.
    """
    found = {mine for style in styles for mine in matched(content.colours, style.colours)}
    for colour, share in zip(content.colours, content.shares(), strict=True):
        if colour not in found:
            theirs = ", ".join(sorted({theirs for style in styles for theirs in style.colours}))
            raise UserError(
                f"region {colour} of the content mask ({share:.1%} of the picture) is in no style mask, whose regions "
                f"are {theirs}: paint it in a style mask, or give it one of their colours"
            )
    return content.colours


def matched(ours: Sequence[str], theirs: Sequence[str]) -> dict[str, str]:
    """{one of ours: the one of theirs that is the same region's}: one to one, and the nearest pairs first.

    Args:
        ours: colours, as "#rrggbb".
        theirs: likewise.

    Returns:
        Of ours, those only that have one within ``ALIKE``.
    """
    distances = np.linalg.norm(_levels(ours)[:, None] - _levels(theirs)[None], axis=-1)
    pairs: dict[str, str] = {}
    for pair in np.argsort(distances, axis=None, kind="stable"):
        i, j = divmod(int(pair), len(theirs))
        if distances[i, j] <= ALIKE and ours[i] not in pairs and theirs[j] not in pairs.values():
            pairs[ours[i]] = theirs[j]
    return pairs


def _levels(colours: Sequence[str]) -> NDArray[np.float64]:
    return np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in colours], np.float64)


def _solid(levels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """[H, W]: whether the 3x3 pixels about each have next to the same colour."""
    padded = np.pad(levels, [(1, 1), (1, 1), (0, 0)], mode="edge")

    def extreme(of: np.ufunc) -> NDArray[np.uint8]:  # rows, then columns: a window at once takes 30 times as long
        rows = of(of(padded[:-2], padded[1:-1]), padded[2:])
        return of(of(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])

    return (extreme(np.maximum) - extreme(np.minimum)).max(axis=-1) <= _SOLID


def _main_colours(colours_Kx3: NDArray[np.float64], counts_K: NDArray, solid_K: NDArray) -> list[int]:
    """Indices of the colours that label regions: the most solid one, then the most solid of those not alike, and on."""
    left = solid_K.copy()
    main: list[int] = []
    while len(main) <= _MOST_REGIONS and left.sum() > 0:
        most = int(left.argmax())
        distances = np.linalg.norm(colours_Kx3 - colours_Kx3[most], axis=-1)
        alike = distances <= ALIKE
        flat = counts_K[distances <= _STRAY].sum() / counts_K[alike].sum()
        if flat >= _LEAST_FLAT and left[alike].sum() >= _LEAST_SHARE * counts_K.sum():
            main.append(most)
        left[alike] = 0
    return main


def _nearest(
    colours_Kx3: NDArray[np.float64], main_Rx3: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Of each colour the nearest main one's index, and the distance to it; infinite where there is none."""
    nearest = np.zeros(len(colours_Kx3), np.intp)
    distances = np.full(len(colours_Kx3), np.inf)
    for index, colour in enumerate(main_Rx3):
        to_this = np.linalg.norm(colours_Kx3 - colour, axis=-1)
        closer = to_this < distances
        nearest[closer], distances[closer] = index, to_this[closer]
    return nearest, distances
