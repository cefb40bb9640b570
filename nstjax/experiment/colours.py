"""Colours of a run's pictures before it begins: matched to each other, or reduced to luminance.

Pixels that are fully transparent have no say in it.
"""

from collections.abc import Callable, Sequence

import numpy as np

from nstjax import images
from nstjax.experiment.config import Config
from nstjax.images import Picture


def match_colours(
    content: Picture, styles: Sequence[Picture], config: Config
) -> tuple[np.ndarray, list[np.ndarray], np.ndarray | None]:
    """Match the colours of a content and its styles as the settings ask.

    Returns:
        (content, styles, the picture whose colours the result gets back, or None), without their transparency.
    """
    colours = content.rgb if config.luminance or config.keep_colours != "none" else None
    if config.match_colour == "content":
        palette = np.concatenate([list_visible(style).reshape(-1, 1, 3) for style in styles])
        content = _map_visible(content, lambda rgb: images.match_colour(rgb, palette, method=config.colour_map))
    elif config.match_colour == "style":
        palette = list_visible(content)
        styles = [
            _map_visible(style, lambda rgb: images.match_colour(rgb, palette, method=config.colour_map))
            for style in styles
        ]
    if config.luminance:
        content = _map_visible(content, images.luminance)
        visible = list_visible(content)
        styles = [
            _map_visible(style, lambda rgb: images.match_luminance(images.luminance(rgb), visible)) for style in styles
        ]
    return content.rgb, [style.rgb for style in styles], colours


def list_visible(picture: Picture) -> np.ndarray:
    """Return the pixels of a picture that are not fully transparent, [N, 1, 3]; all of an opaque one, [H, W, 3]."""
    return picture.rgb if picture.alpha is None else picture.rgb[picture.alpha > 0][:, None]


def _map_visible(picture: Picture, change: Callable[[np.ndarray], np.ndarray]) -> Picture:
    """Change the colours of the visible pixels; the others take the mean of the changed ones."""
    changed = change(list_visible(picture))
    if picture.alpha is None:
        return Picture(changed)
    rgb = np.empty_like(picture.rgb)
    rgb[picture.alpha > 0] = changed[:, 0]
    rgb[picture.alpha == 0] = changed.mean(axis=(0, 1))
    return Picture(rgb, picture.alpha)
