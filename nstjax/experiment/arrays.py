"""The arrays of a run's inputs: their files, and what the run's record says of them."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from nstjax import images
from nstjax.errors import UserError
from nstjax.experiment.config import Config

if TYPE_CHECKING:
    from nstjax.experiment.inputs import Inputs


def describe_array(array: np.ndarray) -> dict[str, Any]:
    """Return the shape, the number type and the checksum of an array, for the record of a run."""
    digest = hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
    return {"shape": [*array.shape], "dtype": array.dtype.str, "sha256": digest}


def describe_inputs(inputs: "Inputs") -> dict[str, dict[str, Any]]:
    """Return {name: description} of every array of a run's inputs."""
    return {name: describe_array(array) for name, array in inputs.to_arrays().items()}


def write_array(file: BinaryIO, array: np.ndarray) -> None:
    """Write an array to an open file, of which ``open_array`` can compute the checksum."""
    np.save(file, np.ascontiguousarray(array))


def open_array(path: Path, expected: Mapping[str, Any]) -> np.ndarray:
    """Open the array in a file: its values stay there, and are read where they are looked at.

    Args:
        path: the file.
        expected: what ``describe_array`` returned when it was written.

    Raises:
        UserError: the file cannot be read, or holds another array.
    """
    try:
        array = np.lib.format.open_memmap(path, mode="r")
        with path.open("rb") as file:
            file.seek(array.offset)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except Exception as error:  # a damaged header can raise nearly anything
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0] or type(error).__name__
        raise UserError(f"cannot read {path}, which is needed to resume the run: {reason}") from None
    if {"shape": [*array.shape], "dtype": array.dtype.str, "sha256": digest} != expected:
        raise UserError(f"{path} is not the picture that the run began with: restore the original")
    return array


def check_inputs(inputs: "Inputs", config: Config) -> None:
    """Raise if the arrays of a run's inputs do not fit together.

    Args:
        inputs: the inputs, as read from a folder that others may have written.
        config: the settings of the run.

    Raises:
        UserError: an array has a wrong shape or number type.
    """
    pictures = {"content": inputs.content, **{f"style {k}": style for k, style in enumerate(inputs.styles, 1)}}
    for name, picture in pictures.items():
        _check_shape(name, picture, (None, None, 3))
    height, width, _ = inputs.content.shape
    size = config.every_size[0] if len(config.every_size) > 1 else None
    first = (height, width) if size is None else images.fit_size(height, width, size, by=config.size_by)
    config.check_picture("content", *first)
    _check_shape("start", inputs.start, (*first, 3))
    for name, array, shape in (
        ("alpha", inputs.alpha, (height, width)),
        ("colours", inputs.colours, (height, width, 3)),
        ("regions", inputs.regions, (None, height, width)),
    ):
        if array is not None:
            _check_shape(name, array, shape)
    for size, (content, *styles) in inputs.coarser.items():
        _check_shape(f"content@{size}", content, (*images.fit_size(height, width, size, by=config.size_by), 3))
        for style in styles:
            _check_shape(f"style@{size}", style, (None, None, 3))
    for alpha, style in zip(inputs.style_alphas, inputs.styles, strict=False):
        if alpha is not None:
            _check_shape("style-alpha", alpha, style.shape[:2])
    if inputs.regions is not None:
        for guides, style in zip(inputs.style_regions, inputs.styles, strict=True):
            _check_shape("style-regions", guides, (len(inputs.regions), *style.shape[:2]))
    count = len(inputs.styles)
    if config.blend_shares and len(config.blend_shares) != count:
        raise UserError(f"blend-shares gives {len(config.blend_shares)} shares, but the run has {count} styles")


def _check_shape(name: str, array: np.ndarray, expected: tuple[int | None, ...]) -> None:
    """Raise unless an array is float32 and of this shape, in which None stands for any side."""
    sides = zip(array.shape, expected, strict=False)
    is_alike = array.ndim == len(expected) and all(side == (wanted or max(side, 1)) for side, wanted in sides)
    if not is_alike or array.dtype != np.float32:
        text = ", ".join("any" if wanted is None else str(wanted) for wanted in expected)
        raise UserError(f"the picture {name} of a run must be float32 [{text}], not {array.dtype} {[*array.shape]}")
