"""What a run is given: its pictures, read, sized and matched, before any array library is started."""

import dataclasses
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from nstjax import examples, images
from nstjax.config import Config
from nstjax.errors import UserError

Source: TypeAlias = str | os.PathLike[str] | np.ndarray | images.Picture


@dataclass(frozen=True, eq=False)
class Inputs:
    """The prepared pictures of a run, float32 [H, W, 3] each.

    Args:
        content: at the result's size.
        style: at a size of its own.
        start: what is optimised from, at the result's size.
        alpha: the content's transparency [H, W], given back to the result; None where it has none.
        names: of the content and the style picture, for people.
    """

    content: np.ndarray
    style: np.ndarray
    start: np.ndarray
    alpha: np.ndarray | None
    names: tuple[str, str]

    def pictures(self) -> dict[str, np.ndarray]:
        """{name: array} of all that is kept of them."""
        return {
            "content": self.content,
            "style": self.style,
            "start": self.start,
            **({} if self.alpha is None else {"alpha": self.alpha}),
        }

    def record(self) -> dict[str, dict]:
        """Names, shapes and checksums, for the run's record."""
        return {
            name: {"shape": [*array.shape], "sha256": hashlib.sha256(array.tobytes()).hexdigest()}
            for name, array in self.pictures().items()
        }


def prepare(content: Source, style: Source, config: Config, *, pixel_limit: int = images.PIXEL_LIMIT) -> Inputs:
    """Read and size the pictures of a run.

    Args:
        content: path, ``example:NAME``, or array [H, W, 3] in [0, 1].
        style: likewise.
        config: sizes, colour matching, what to start from.
        pixel_limit: refuse pictures with more pixels than this, as they come and as they are asked for.

    Raises:
        UserError: a picture cannot be read, or is too small for the layers asked for.
    """
    content_picture, style_picture = (_open(it, pixel_limit) for it in (content, style))
    size = config.size or max(content_picture.rgb.shape[:2])
    content_picture = _resize(content_picture, size, config, pixel_limit)
    long_side = max(content_picture.rgb.shape[:2])
    style_size = config.style_size or max(1, round(config.style_scale * long_side))
    style_picture = _resize(style_picture, style_size, config, pixel_limit)
    rgb = content_picture.rgb
    for what, picture in (("content", rgb), ("style", style_picture.rgb)):
        config.check_picture(what, *picture.shape[:2])
    if config.match_colour == "content":
        rgb = images.match_colour(rgb, style_picture.rgb)
    start = _start(rgb, style_picture.rgb, config, pixel_limit)
    return Inputs(rgb, style_picture.rgb, start, content_picture.alpha, (source_name(content), source_name(style)))


def restarted(inputs: Inputs, config: Config, *, pixel_limit: int = images.PIXEL_LIMIT) -> Inputs:
    """The same pictures with the start that other settings ask for: a seed, a share of noise.

    Raises:
        UserError: the picture to start from cannot be read.
    """
    return dataclasses.replace(inputs, start=_start(inputs.content, inputs.style, config, pixel_limit))


def _open(source: Source, pixel_limit: int) -> images.Picture:
    if isinstance(source, images.Picture):
        return source
    if isinstance(source, np.ndarray):
        return images.Picture(_checked(source), None)
    if isinstance(source, str) and source.startswith("example:"):
        return examples.load(source.removeprefix("example:"))
    return images.read(source, limit=pixel_limit)


def _resize(picture: images.Picture, size: int, config: Config, pixel_limit: int) -> images.Picture:
    height, width, _ = picture.rgb.shape
    height, width = images.fitted(height, width, size, enlarge=config.enlarge)
    if height * width > pixel_limit:
        raise UserError(
            f"{width}x{height} is {height * width:,} pixels, more than the limit of {pixel_limit:,}: "
            "use a smaller size, or raise it with --pixel-limit"
        )
    return images.resize(picture, size, enlarge=config.enlarge)


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


def _start(content: np.ndarray, style: np.ndarray, config: Config, pixel_limit: int) -> np.ndarray:
    """The picture to start from, of the content's shape."""
    generator = np.random.Generator(np.random.Philox(config.seed))
    start = _unmixed(content, style, config, generator, pixel_limit)
    if not config.init_noise:
        return start
    mix = np.float32(config.init_noise)
    return (1 - mix) * start + mix * generator.random(content.shape, np.float32)


def _unmixed(
    content: np.ndarray, style: np.ndarray, config: Config, generator: np.random.Generator, pixel_limit: int
) -> np.ndarray:
    if config.init == "content":
        return content
    if config.init == "noise":
        return generator.random(content.shape, np.float32)
    if config.init == "style-statistics":
        # White noise in space, with the mean and the covariance of the style's colours.
        colours = style.reshape(-1, 3).astype(np.float64)
        values, vectors = np.linalg.eigh(np.cov(colours.T))
        root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
        noise = generator.standard_normal(content.shape) @ root + colours.mean(axis=0)
        return np.clip(noise, 0, 1).astype(np.float32)
    if not config.init.startswith("example:") and not Path(config.init).exists():
        raise UserError(f"init must be content, noise, style-statistics or a picture file, not {config.init!r}")
    start = _open(config.init, pixel_limit).rgb
    h, w, _ = content.shape
    if abs(start.shape[0] / start.shape[1] * w / h - 1) > 0.02:
        raise UserError(
            f"the picture to start from is {start.shape[1]}x{start.shape[0]}, another shape than the result's {w}x{h}"
        )
    return images.resample(start, h, w)
