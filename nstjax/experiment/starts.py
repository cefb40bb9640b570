"""The pictures that a run can start from."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nstjax import images
from nstjax.errors import UserError
from nstjax.experiment.config import Config

STARTS = ("content", "noise", "mean", "style-mean", "style-statistics")
"""The starts that need no further picture."""

IN_MEMORY = "array"
"""The setting ``init`` of a run whose start was handed over in memory."""

_MEAN_COLOUR = np.array([0.485, 0.456, 0.406], np.float32)
"""Mean colour of ImageNet, which networks trained on it see as zero."""


def check_init(init: str) -> None:
    """Raise if the setting ``init`` is none of ``STARTS``, and no file.

    Raises:
        UserError: it is none of them.
    """
    if init not in (*STARTS, IN_MEMORY) and not init.startswith("example:") and not Path(init).exists():
        raise UserError(f"init must be {', '.join(STARTS)} or a picture file, not {init!r}")


def make_start(
    content: np.ndarray, styles: Sequence[np.ndarray], init: np.ndarray | None, config: Config
) -> np.ndarray:
    """Return the picture to start from, in the content's shape.

    Args:
        content: the content at the run's first size.
        styles: the visible pixels of the styles at that size, each [..., 3].
        init: the picture that the settings name; None for one of ``STARTS``.
        config: the kind of start, its noise, and the seed.

    Raises:
        UserError: the picture has another shape than the content.
    """
    generator = np.random.Generator(np.random.Philox(config.seed))
    if init is None:
        start = _make_plain_start(content, styles, config.init, generator)
    else:
        start = _fit_start(init, *content.shape[:2], resampling=config.resampling)
    if config.init_noise:
        mix = np.float32(config.init_noise)
        start = (1 - mix) * start + mix * generator.random(content.shape, np.float32)
    if config.init_deviation:
        start = start + np.float32(config.init_deviation) * generator.standard_normal(content.shape, np.float32)
    return start


def _make_plain_start(
    content: np.ndarray, styles: Sequence[np.ndarray], kind: str, generator: np.random.Generator
) -> np.ndarray:
    """Return the picture to start from, before noise is mixed in."""
    if kind == "content":
        return content
    if kind == "noise":
        return generator.random(content.shape, np.float32)
    if kind == "mean":
        return np.broadcast_to(_MEAN_COLOUR, content.shape).copy()
    colours = np.concatenate([style.reshape(-1, 3) for style in styles]).astype(np.float64)
    if kind == "style-mean":
        return np.broadcast_to(colours.mean(axis=0).astype(np.float32), content.shape).copy()
    # White noise in space, with the mean and the covariance of the style's colours.
    values, vectors = np.linalg.eigh(np.cov(colours.T, ddof=min(1, len(colours) - 1)))
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    noise = generator.standard_normal(content.shape) @ root + colours.mean(axis=0)
    return np.clip(noise, 0, 1).astype(np.float32)


def _fit_start(start: np.ndarray, height: int, width: int, *, resampling: images.Resampling) -> np.ndarray:
    if abs(start.shape[0] / start.shape[1] * width / height - 1) > 0.02:
        raise UserError(
            f"the picture to start from (init) is {start.shape[1]}x{start.shape[0]}, another shape than the result's "
            f"{width}x{height}"
        )
    return images.resample(start, height, width, resampling=resampling)
