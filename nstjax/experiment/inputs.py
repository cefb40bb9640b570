"""What a run is given: its pictures, read, sized and matched, before any array library is started."""

import dataclasses
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from nstjax import images
from nstjax.errors import UserError
from nstjax.experiment.config import Config
from nstjax.images import examples, masks
from nstjax.images.masks import Mask

Source: TypeAlias = str | os.PathLike[str] | np.ndarray | images.Picture


@dataclass(frozen=True, eq=False)
class Inputs:
    """The prepared pictures of a run, float32 [H, W, 3] each.

    Args:
        content: at the result's size.
        style: at a size of its own.
        start: what is optimised from, at the first of the run's sizes.
        alpha: the content's transparency [H, W], given back to the result; None where it has none.
        names: of the content and the styles, for people.
        more_styles: that the style is blended with, each at a size of its own.
        colours: the content in the colours that the result gets back; None where it keeps its own.
        regions: of the content, [R, H, W]; None where there are none.
        style_regions: of each style, [R, H', W'], where there are regions.
    """

    content: np.ndarray
    style: np.ndarray
    start: np.ndarray
    alpha: np.ndarray | None
    names: tuple[str, ...]
    more_styles: tuple[np.ndarray, ...] = ()
    colours: np.ndarray | None = None
    regions: np.ndarray | None = None
    style_regions: tuple[np.ndarray, ...] = ()

    @property
    def styles(self) -> tuple[np.ndarray, ...]:
        """All of them."""
        return (self.style, *self.more_styles)

    @property
    def title(self) -> str:
        """For people."""
        return title_of(self.names)

    def blend(self, config: Config) -> list[list[float]] | list[float]:
        """The share of each style; where there are regions, in each of them: those whose mask has it share it."""
        shares = list(config.style_weights or (1.0,) * len(self.styles))
        if self.regions is None:
            return shares
        each = zip(shares, self.style_regions, strict=True)
        return np.transpose([share * guides.any(axis=(1, 2)) for share, guides in each]).tolist()

    def pictures(self) -> dict[str, np.ndarray]:
        """{name: array} of all that is kept of them; ``from_pictures`` takes it back."""
        found = {"content": self.content, "start": self.start}
        for name, it in (("alpha", self.alpha), ("colours", self.colours), ("regions", self.regions)):
            if it is not None:
                found[name] = it
        found |= {f"style{_number(k)}": it for k, it in enumerate(self.styles)}
        return found | {f"style{_number(k)}-regions": it for k, it in enumerate(self.style_regions)}

    def record(self) -> dict[str, dict]:
        """Names, shapes and checksums, for the run's record."""
        return {
            name: {"shape": [*array.shape], "sha256": hashlib.sha256(array.tobytes()).hexdigest()}
            for name, array in self.pictures().items()
        }


def title_of(names: Sequence[str]) -> str:
    """Of the names of a content and of its styles, for people."""
    return f"{names[0]} in the style of {' and '.join(names[1:])}"


def _number(k: int) -> str:
    return f"-{k + 1}" if k else ""


def from_pictures(arrays: Mapping[str, np.ndarray], names: Sequence[str]) -> Inputs:
    """The inputs of which ``pictures`` gave these."""
    numbers = range(len(names) - 1)
    styles = tuple(arrays[f"style{_number(k)}"] for k in numbers)
    regions = arrays.get("regions")
    return Inputs(
        content=arrays["content"],
        style=styles[0],
        start=arrays["start"],
        alpha=arrays.get("alpha"),
        names=tuple(names),
        more_styles=styles[1:],
        colours=arrays.get("colours"),
        regions=regions,
        style_regions=() if regions is None else tuple(arrays[f"style{_number(k)}-regions"] for k in numbers),
    )


def prepare(
    content: Source,
    style: Source | Sequence[Source],
    config: Config,
    *,
    content_mask: Mask | None = None,
    style_masks: Sequence[Mask] = (),
    pixel_limit: int = images.PIXEL_LIMIT,
) -> Inputs:
    """Read and size the pictures of a run.

    Args:
        content: path, ``example:NAME``, or array [H, W, 3] in [0, 1].
        style: likewise; or several, which are blended.
        config: sizes, colours, what to start from.
        content_mask: which regions the content has; see ``masks.guides``.
        style_masks: one for each style, where the content has one.
        pixel_limit: refuse pictures with more pixels than this, as they come and as they are asked for.

    Raises:
        UserError: a picture cannot be read, is too small for the layers asked for, or does not fit its mask.
    """
    sources: list[Source] = [*style] if isinstance(style, list | tuple) else [style]  # type: ignore[list-item]
    _check_counts(config, len(sources), content_mask, style_masks)
    picture = _resize(_open(content, pixel_limit), config.size, config, pixel_limit)
    styles = [_open(it, pixel_limit) for it in sources]
    size = _style_size(config, *picture.rgb.shape[:2])
    styles = [_resize(it, size, config, pixel_limit).rgb for it in styles]
    rgb, styles, colours = _coloured(picture.rgb, styles, config)
    guides, style_guides = None, ()
    if content_mask is not None:
        shapes = [it.shape[:2] for it in styles]
        guides, style_guides = masks.guides(content_mask, style_masks, rgb.shape[:2], shapes, pixel_limit=pixel_limit)
    names = (source_name(content), *(source_name(it) for it in sources))
    inputs = Inputs(rgb, styles[0], rgb, picture.alpha, names, tuple(styles[1:]), colours, guides, style_guides)
    return restarted(inputs, config, pixel_limit=pixel_limit)


def restarted(inputs: Inputs, config: Config, *, pixel_limit: int = images.PIXEL_LIMIT) -> Inputs:
    """The same pictures with the start that other settings ask for: a seed, a share of noise.

    Raises:
        UserError: the picture to start from cannot be read, or the first size is too small for the layers asked for.
    """
    first = at_each_size(inputs, config)[0]
    for what, it in (("content", first.content), *(("style", it) for it in first.styles)):
        config.check_picture(what, *it.shape[:2])
    return dataclasses.replace(inputs, start=_start(first.content, first.styles, config, pixel_limit))


def at_each_size(inputs: Inputs, config: Config) -> list[Inputs]:
    """The pictures at each of the run's sizes, from coarse to fine; what is started from goes with the first."""
    coarser = [_at(inputs, size, config) for size in config.every_size[:-1] if size is not None]
    each = [*coarser, dataclasses.replace(inputs, start=inputs.content)]
    return [dataclasses.replace(each[0], start=inputs.start), *each[1:]]


def _at(inputs: Inputs, size: int, config: Config) -> Inputs:
    height, width, _ = inputs.content.shape
    height, width = images.fitted(height, width, size, by=config.size_by)
    content = images.resample(inputs.content, height, width)
    style_size = _style_size(config, height, width)
    styles = [images.resize(it, style_size, by=config.size_by) for it in inputs.styles]
    guides = zip(inputs.style_regions, styles, strict=inputs.regions is not None)
    return dataclasses.replace(
        inputs,
        content=content,
        start=content,
        style=styles[0],
        more_styles=tuple(styles[1:]),
        alpha=None if inputs.alpha is None else images.resample(inputs.alpha, height, width),
        regions=None if inputs.regions is None else images.resized_guides(inputs.regions, height, width),
        style_regions=tuple(images.resized_guides(it, *style.shape[:2]) for it, style in guides),
    )


def finished(picture: np.ndarray, inputs: Inputs, config: Config) -> np.ndarray:
    """A picture as it is shown: with the content's colours, where it is to keep them."""
    if inputs.colours is None:
        return picture
    space = "yiq" if config.keep_colours == "none" else config.keep_colours
    return images.keep_colours(picture, inputs.colours, space=space)


def _check_counts(config: Config, styles: int, content_mask: Mask | None, style_masks: Sequence[Mask]) -> None:
    if not styles:
        raise UserError("a run needs at least one style picture")
    if config.style_weights and len(config.style_weights) != styles:
        raise UserError(f"style-weights gives {len(config.style_weights)} shares, and there are {styles} styles")
    if content_mask is None and style_masks:
        raise UserError("style masks say which region is drawn in which style: give the content a mask too")
    if content_mask is not None and len(style_masks) != styles:
        raise UserError(
            f"each style needs a mask, and there are {len(style_masks)} for {styles} styles: give a file, or a colour "
            "for a style whose whole is the region of that colour"
        )


def _style_size(config: Config, height: int, width: int) -> int:
    measure = images.measured(height, width, by=config.size_by)
    return config.style_size or max(1, round(config.style_scale * measure))


def _coloured(
    content: np.ndarray, styles: list[np.ndarray], config: Config
) -> tuple[np.ndarray, list[np.ndarray], np.ndarray | None]:
    """(content, styles, the content in the colours that the result gets back or None)."""
    own = content if config.luminance or config.keep_colours != "none" else None
    if config.match_colour == "content":
        every = np.concatenate([it.reshape(-1, 1, 3) for it in styles])
        content = images.match_colour(content, every, method=config.colour_map)
    elif config.match_colour == "style":
        styles = [images.match_colour(it, content, method=config.colour_map) for it in styles]
    if config.luminance:
        content = images.luminance(content)
        styles = [images.match_luminance(images.luminance(it), content) for it in styles]
    return content, styles, own


def _open(source: Source, pixel_limit: int) -> images.Picture:
    if isinstance(source, images.Picture):
        return source
    if isinstance(source, np.ndarray):
        return images.Picture(_checked(source), None)
    if isinstance(source, str) and source.startswith("example:"):
        return examples.load(source.removeprefix("example:"))
    return images.read(source, limit=pixel_limit)


def _resize(picture: images.Picture, size: int | None, config: Config, pixel_limit: int) -> images.Picture:
    height, width, _ = picture.rgb.shape
    if size is None:
        return picture
    new_height, new_width = images.fitted(height, width, size, enlarge=config.enlarge, by=config.size_by)
    if new_height * new_width > pixel_limit:
        raise UserError(
            f"{new_width}x{new_height} is {new_height * new_width:,} pixels, more than the limit of {pixel_limit:,}: "
            "use a smaller size, or raise it with --pixel-limit"
        )
    return images.resize(picture, size, enlarge=config.enlarge, by=config.size_by)


def _checked(array: np.ndarray) -> np.ndarray:
    if array.ndim != 3 or array.shape[-1] != 3 or not np.issubdtype(array.dtype, np.floating):
        raise UserError(f"a picture is a float array [H, W, 3] in [0, 1], not {array.dtype} {[*array.shape]}")
    if not (array.min() >= 0 and array.max() <= 1):
        raise UserError(f"a picture's values lie in [0, 1], not {array.min():g} to {array.max():g}: divide by 255?")
    return np.asarray(array, np.float32)


def source_name(source: Source) -> str:
    """A picture's name, for people: its file's without folder and extension."""
    if isinstance(source, np.ndarray | images.Picture):
        return "array"
    name = os.fspath(source)
    return name.removeprefix("example:") if name.startswith("example:") else Path(name).stem


def _start(content: np.ndarray, styles: Sequence[np.ndarray], config: Config, pixel_limit: int) -> np.ndarray:
    """The picture to start from, of the content's shape."""
    generator = np.random.Generator(np.random.Philox(config.seed))
    start = _unmixed(content, styles, config, generator, pixel_limit)
    if config.init_noise:
        mix = np.float32(config.init_noise)
        start = (1 - mix) * start + mix * generator.random(content.shape, np.float32)
    if config.init_deviation:
        start = start + np.float32(config.init_deviation) * generator.standard_normal(content.shape, np.float32)
    return start


_MEAN_COLOUR = np.array([0.485, 0.456, 0.406], np.float32)
"""Of ImageNet's pictures: what networks that were trained on them see as zero."""


def _unmixed(
    content: np.ndarray,
    styles: Sequence[np.ndarray],
    config: Config,
    generator: np.random.Generator,
    pixel_limit: int,
) -> np.ndarray:
    if config.init == "content":
        return content
    if config.init == "noise":
        return generator.random(content.shape, np.float32)
    if config.init == "mean":
        return np.broadcast_to(_MEAN_COLOUR, content.shape).copy()
    if config.init == "style-statistics":
        # White noise in space, with the mean and the covariance of the style's colours.
        colours = np.concatenate([it.reshape(-1, 3) for it in styles]).astype(np.float64)
        values, vectors = np.linalg.eigh(np.cov(colours.T))
        root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
        noise = generator.standard_normal(content.shape) @ root + colours.mean(axis=0)
        return np.clip(noise, 0, 1).astype(np.float32)
    if not config.init.startswith("example:") and not Path(config.init).exists():
        raise UserError(f"init must be content, noise, mean, style-statistics or a picture file, not {config.init!r}")
    start = _open(config.init, pixel_limit).rgb
    h, w, _ = content.shape
    if abs(start.shape[0] / start.shape[1] * w / h - 1) > 0.02:
        raise UserError(
            f"the picture to start from is {start.shape[1]}x{start.shape[0]}, another shape than the result's {w}x{h}"
        )
    return images.resample(start, h, w)
