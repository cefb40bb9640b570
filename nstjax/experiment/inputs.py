"""The inputs of a run: its pictures, read, resized and colour-matched before any array library is started."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nstjax import images
from nstjax.errors import UserError
from nstjax.experiment.colours import list_visible, match_colours
from nstjax.experiment.config import Config
from nstjax.experiment.sources import (
    MaskSource,
    Source,
    check_header,
    is_file,
    open_source,
    source_name,
    to_mask,
    to_masks,
    to_sources,
)
from nstjax.experiment.starts import STARTS, check_init, make_start
from nstjax.images import masks


@dataclass(frozen=True, eq=False)
class Inputs:
    """The prepared pictures of a run, each float32 [H, W, 3].

    Args:
        content: content picture, at the size of the result.
        style: first style picture, at a size independent of the content's.
        start: picture to start from, at the first of the run's sizes.
        alpha: the content's transparency [H, W], restored in the result; None if it has none.
        names: readable names of the content and of the styles.
        more_styles: further styles to blend, each at a size independent of the others.
        colours: picture whose colours the result gets; None if the result keeps its own.
        regions: regions of the content, [R, H, W]; None if there are none.
        style_regions: regions of each style, [R, H', W']; empty if there are none.
        style_alphas: transparency of each style, [H', W'] or None; empty if all styles are opaque.
        sources: absolute paths of the files that the pictures were read from.
        init: picture to start from before noise is mixed in, if it came as an array.
        coarser: {size: (content, styles)} of the run's smaller sizes, made from the pictures as they came; empty if
            they are to be made from those of the largest size, or if the colours were changed.
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
    style_alphas: tuple[np.ndarray | None, ...] = ()
    sources: tuple[str, ...] = ()
    init: np.ndarray | None = None
    coarser: Mapping[int, tuple[np.ndarray, ...]] = dataclasses.field(default_factory=dict)

    @property
    def styles(self) -> tuple[np.ndarray, ...]:
        """The style pictures, the first one included."""
        return (self.style, *self.more_styles)

    @property
    def title(self) -> str:
        """Readable title of the run."""
        return format_title(self.names)

    def style_shares(self, config: Config) -> list[list[float]] | list[float]:
        """Return the share of each style; with regions, the shares in each region of the styles that have it."""
        shares = list(config.blend_shares or (1.0,) * len(self.styles))
        if self.regions is None:
            return shares
        pairs = zip(shares, self.style_regions, strict=True)
        return np.transpose([share * guides.any(axis=(1, 2)) for share, guides in pairs]).tolist()

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return {name: array} of everything that is stored; ``from_arrays`` is the inverse."""
        arrays = {"content": self.content, "start": self.start}
        for name in ("alpha", "colours", "regions", "init"):
            if (array := getattr(self, name)) is not None:
                arrays[name] = array
        arrays |= {f"style{_suffix(k)}": style for k, style in enumerate(self.styles)}
        for size, (content, *styles) in self.coarser.items():
            arrays |= {f"content@{size}": content}
            arrays |= {f"style{_suffix(k)}@{size}": style for k, style in enumerate(styles)}
        arrays |= {f"style{_suffix(k)}-alpha": alpha for k, alpha in enumerate(self.style_alphas) if alpha is not None}
        return arrays | {f"style{_suffix(k)}-regions": regions for k, regions in enumerate(self.style_regions)}


def _drop_opaque(alphas: tuple[np.ndarray | None, ...]) -> tuple[np.ndarray | None, ...]:
    return alphas if any(alpha is not None for alpha in alphas) else ()


def format_title(names: Sequence[str]) -> str:
    """Return a readable title from the names of a content and its styles."""
    return f"{names[0]} in the style of {' and '.join(names[1:])}"


def _suffix(k: int) -> str:
    return f"-{k + 1}" if k else ""


def from_arrays(arrays: Mapping[str, np.ndarray], names: Sequence[str]) -> Inputs:
    """Return the inputs that ``Inputs.to_arrays`` has turned into these arrays.

    Raises:
        KeyError: an array is missing.
    """
    numbers = range(len(names) - 1)
    styles = tuple(arrays[f"style{_suffix(k)}"] for k in numbers)
    regions = arrays.get("regions")
    alphas = tuple(arrays.get(f"style{_suffix(k)}-alpha") for k in numbers)
    sizes = [int(size) for name in arrays if (size := name.removeprefix("content@")).isdecimal()]
    return Inputs(
        content=arrays["content"],
        style=styles[0],
        start=arrays["start"],
        alpha=arrays.get("alpha"),
        names=tuple(names),
        more_styles=styles[1:],
        colours=arrays.get("colours"),
        regions=regions,
        init=arrays.get("init"),
        style_regions=() if regions is None else tuple(arrays[f"style{_suffix(k)}-regions"] for k in numbers),
        style_alphas=_drop_opaque(alphas),
        coarser={
            size: (arrays[f"content@{size}"], *(arrays[f"style{_suffix(k)}@{size}"] for k in numbers))
            for size in sorted(sizes)
        },
    )


def check_sources(
    content: Source,
    style: Source | Sequence[Source],
    config: Config,
    *,
    content_mask: MaskSource | None = None,
    style_masks: MaskSource | Sequence[MaskSource] = (),
    pixel_limit: int = images.PIXEL_LIMIT,
) -> None:
    """Check quickly what ``prepare`` will be given, before weights are looked for. Arguments are those of ``prepare``.

    Raises:
        UserError: a file of the content or of a style is missing or is no picture, or the numbers of styles, shares and
            masks differ.
    """
    sources = to_sources("style", style)
    _check_counts(config, len(sources), content_mask is not None, len(to_masks(style_masks)))
    for name, source in (("content", content), *(("style", source) for source in sources)):
        check_header(name, source, pixel_limit)
    check_init(config.init)


def prepare(
    content: Source,
    style: Source | Sequence[Source],
    config: Config,
    *,
    content_mask: MaskSource | None = None,
    style_masks: MaskSource | Sequence[MaskSource] = (),
    init: Source | None = None,
    pixel_limit: int = images.PIXEL_LIMIT,
) -> Inputs:
    """Read and resize the pictures of a run.

    Args:
        content: path, ``example:NAME``, Pillow image, or array; see ``sources.open_source``.
        style: the same; or several of them, which are blended.
        config: sizes, colours and the picture to start from.
        content_mask: regions of the content; see ``masks.prepare_guides``.
        style_masks: regions of each style, if the content has a mask.
        init: picture to start from; None for the one that the settings name.
        pixel_limit: largest number of pixels of a picture, as read and as resized.

    Raises:
        UserError: a picture cannot be read, is too small for the requested layers, or does not fit its mask.
    """
    sources = to_sources("style", style)
    content_mask = None if content_mask is None else to_mask("content_mask", content_mask)
    style_masks = to_masks(style_masks)
    _check_counts(config, len(sources), content_mask is not None, len(style_masks))
    original = open_source("content", content, pixel_limit)
    picture = _resize(original, config.size, config, pixel_limit)
    height, width, _ = picture.rgb.shape
    size = _style_size(config, height, width)
    is_recoloured = config.match_colour != "none" or config.luminance
    sizes = config.every_size[:-1] if config.smaller_from == "original" and not is_recoloured else ()
    coarse = {size: images.fit_size(height, width, size, by=config.size_by) for size in sizes if size is not None}
    coarser: dict[int, tuple[np.ndarray, ...]] = {
        k: (images.resample(original.rgb, *shape, resampling=config.resampling),) for k, shape in coarse.items()
    }
    style_pictures = []
    for source in sources:  # one after the other, since a picture as it is read may take gigabytes
        original = open_source("style", source, pixel_limit)
        style_pictures.append(picture_of_style := _resize(original, size, config, pixel_limit))
        height, width, _ = picture_of_style.rgb.shape
        for k, (h, w) in coarse.items():
            shape = images.fit_size(height, width, _style_size(config, h, w), by=config.size_by)
            coarser[k] += (images.resample(original.rgb, *shape, resampling=config.resampling),)
    alphas = _drop_opaque(tuple(style.alpha for style in style_pictures))
    rgb, styles, colours = match_colours(picture, style_pictures, config)
    guides, style_guides = None, ()
    if content_mask is not None:
        shapes = [style.shape[:2] for style in styles]
        guides, style_guides = masks.prepare_guides(
            content_mask, style_masks, rgb.shape[:2], shapes, pixel_limit=pixel_limit
        )
        style_guides = masks.hide_guides(guides, style_guides, alphas)
    names = (source_name(content), *(source_name(source) for source in sources))
    given: tuple[Any, ...] = (content, *sources, content_mask, *style_masks, config.init)
    paths = tuple(os.path.abspath(path) for path in given if is_file(path) and os.path.exists(path))
    more = tuple(styles[1:])
    inputs = Inputs(rgb, styles[0], rgb, picture.alpha, names, more, colours, guides, style_guides, alphas, paths)
    inputs = dataclasses.replace(inputs, coarser=coarser)
    if init is not None:
        inputs = dataclasses.replace(inputs, init=open_source("init", init, pixel_limit).rgb)
    return replace_start(inputs, config, pixel_limit=pixel_limit)


def replace_start(inputs: Inputs, config: Config, *, pixel_limit: int = images.PIXEL_LIMIT) -> Inputs:
    """Return the same pictures with the start that the settings ask for, such as another seed or share of noise.

    Raises:
        UserError: the picture to start from cannot be read, or the first size is too small for the requested layers.
    """
    first = resize_to_each_size(inputs, config)[0]
    for kind, picture in (("content", first.content), *(("style", style) for style in first.styles)):
        config.check_picture(kind, *picture.shape[:2])
    alphas = first.style_alphas or (None,) * len(first.styles)
    visible = [list_visible(images.Picture(*style)) for style in zip(first.styles, alphas, strict=True)]
    init = inputs.init
    if init is None and config.init not in STARTS:
        check_init(config.init)
        init = open_source("init", config.init, pixel_limit).rgb
    return dataclasses.replace(inputs, start=make_start(first.content, visible, init, config))


def resize_to_each_size(inputs: Inputs, config: Config) -> list[Inputs]:
    """Return the pictures at each of the run's sizes, from coarse to fine; the first ones have the run's start."""
    coarser = [_resize_inputs(inputs, size, config) for size in config.every_size[:-1] if size is not None]
    levels = [*coarser, dataclasses.replace(inputs, start=inputs.content)]
    return [dataclasses.replace(levels[0], start=inputs.start), *levels[1:]]


def _resize_inputs(inputs: Inputs, result_size: int, config: Config) -> Inputs:
    height, width, _ = inputs.content.shape
    height, width = images.fit_size(height, width, result_size, by=config.size_by)
    size, by, resampling = _style_size(config, height, width), config.size_by, config.resampling
    if result_size in inputs.coarser:
        content, *styles = inputs.coarser[result_size]
    else:
        content = images.resample(inputs.content, height, width, resampling=resampling)
        styles = [images.resize(style, size, by=by, resampling=resampling) for style in inputs.styles]
    pairs = zip(inputs.style_regions, styles, strict=inputs.regions is not None)
    return dataclasses.replace(
        inputs,
        content=content,
        start=content,
        style=styles[0],
        more_styles=tuple(styles[1:]),
        alpha=None if inputs.alpha is None else images.resample(inputs.alpha, height, width, resampling=resampling),
        regions=None if inputs.regions is None else images.resize_guides(inputs.regions, height, width),
        style_regions=tuple(images.resize_guides(guides, *style.shape[:2]) for guides, style in pairs),
        style_alphas=tuple(
            None if alpha is None else images.resample(alpha, *style.shape[:2], resampling=resampling)
            for alpha, style in zip(inputs.style_alphas, styles, strict=bool(inputs.style_alphas))
        ),
    )


def restore_colours(picture: np.ndarray, inputs: Inputs, config: Config) -> np.ndarray:
    """Return the picture in its final colours: those of the content, if the settings keep them."""
    if inputs.colours is None:
        return picture
    space = "yiq" if config.keep_colours == "none" else config.keep_colours
    return images.keep_colours(picture, inputs.colours, space=space, resampling=config.resampling)


def _check_counts(config: Config, styles: int, has_mask: bool, style_masks: int) -> None:
    if config.blend_shares and len(config.blend_shares) != styles:
        raise UserError(f"blend-shares gives {len(config.blend_shares)} shares, but there are {styles} styles")
    if style_masks and not has_mask:
        raise UserError("style masks say which region is drawn in which style: give the content a mask too")
    if has_mask and style_masks != styles:
        raise UserError(
            f"each style needs a mask, but there are {style_masks} for {styles} styles: give a file, or the "
            "colour of a region to use the whole style for that region"
        )


def _style_size(config: Config, height: int, width: int) -> int:
    measure = images.measure_size(height, width, by=config.size_by)
    return config.style_size or max(1, round(config.style_scale * measure))


def _resize(picture: images.Picture, size: int | None, config: Config, pixel_limit: int) -> images.Picture:
    height, width, _ = picture.rgb.shape
    if size is None:
        return picture
    new_height, new_width = images.fit_size(height, width, size, enlarge=config.enlarge, by=config.size_by)
    if new_height * new_width > pixel_limit:
        raise UserError(
            f"{new_width}x{new_height} is {new_height * new_width:,} pixels, more than the limit of {pixel_limit:,}: "
            "use a smaller size, or raise the limit with --pixel-limit"
        )
    return images.resize(picture, size, enlarge=config.enlarge, by=config.size_by, resampling=config.resampling)
