"""Parameterisations of a picture: pairs of pure functions with ``decode(encode(picture)) == picture``.

The optimiser changes parameters, not the picture. Adam moves every parameter at the same rate, so the parameterisation
decides what Adam draws first: single pixels, or waves from long to short, or patches of many sizes at once.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from nstjax.types import Picture

Resampling = Literal["cubic", "bicubic", "linear"]
"""Interpolation used by ``Parameterisation.resize``.

"cubic" and "bicubic" are for signed values: parameters and means of gradients. A parameter without a counterpart at the
old size becomes zero. For pixels, "cubic" is JAX's, with the parameter -0.5, and "bicubic" PyTorch's, with -0.75, which
is sharper. "linear" is for values that are never negative, such as means of squared gradients, and keeps them so. A
new parameter takes the value of the nearest old one: Adam divides by the root, so after a zero its steps would be
several times too long for a while.
"""


def resize_picture(
    picture: Float[Array, "_ _ 3"], height: int, width: int, method: Resampling
) -> Float[Array, "{height} {width} 3"]:
    """Resize a picture, or an array like one, without clipping."""
    if method != "bicubic":
        return jax.image.resize(picture, (height, width, 3), method)
    rows, columns = _make_bicubic(picture.shape[0], height), _make_bicubic(picture.shape[1], width)
    return jnp.einsum("yh,xw,hwc->yxc", rows, columns, picture, precision="highest")


def _make_bicubic(old: int, new: int) -> Float[np.ndarray, "{new} {old}"]:
    """Return the weights of the old pixels in the new ones, by PyTorch's cubic; beyond the edge, the edge repeats."""
    places = (np.arange(new) + 0.5) * old / new - 0.5
    weights = np.zeros((new, old))
    for offset in (-1, 0, 1, 2):
        pixels = np.floor(places) + offset
        x = np.abs(places - pixels)
        inner, outer = (1.25 * x - 2.25) * x**2 + 1, -0.75 * (((x - 5) * x + 8) * x - 4)
        nearest = np.clip(pixels, 0, old - 1).astype(int)
        np.add.at(weights, (np.arange(new), nearest), np.where(x <= 1, inner, outer))
    return weights.astype(np.float32)


@runtime_checkable
class Parameterisation(Protocol):
    """A pair of pure functions; two with equal settings compare equal."""

    def encode(self, picture: Picture) -> PyTree:
        """Return the parameters of a picture."""
        ...

    def decode(self, parameters: PyTree) -> Picture:
        """Return the picture of these parameters."""
        ...

    def resize(self, parameters: PyTree, height: int, width: int, *, method: Resampling = "cubic") -> PyTree:
        """Resize parameters to those of a picture [height, width]; a linear function of the parameters.

        Args:
            parameters: parameters, or a tree of the same shape, such as Adam's moments.
            height: height of the new picture, in pixels.
            width: width of the new picture, in pixels.
            method: interpolation; see ``Resampling``.

        Returns:
            Parameters of the same parameterisation at the new size.
        """
        ...


@dataclass(frozen=True)
class Pixels:
    """The identity parameterisation: the parameters are the picture."""

    def encode(self, picture: Picture) -> Picture:
        """Return the picture."""
        return picture

    def decode(self, parameters: Picture) -> Picture:
        """Return the parameters."""
        return parameters

    def resize(
        self, parameters: Picture, height: int, width: int, *, method: Resampling = "cubic"
    ) -> Float[Array, "{height} {width} 3"]:
        """Resample the parameters like any picture; none of them is new."""
        return resize_picture(parameters, height, width, method)


PIXELS = Pixels()

_COLOUR_BASIS = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
_COLOUR_BASIS /= np.linalg.norm(_COLOUR_BASIS, axis=0).max()
"""Principal axes of the colours of natural pictures, one in each column: lightness, warm-cold, green-magenta.

Scaled by their spread; the constants of Lucid's ``color_correlation_svd_sqrt``.
"""


@dataclass(frozen=True)
class Fourier:
    """Real Fourier coefficients, scaled by 1/frequency, of decorrelated colour channels.

    ``picture = irfft2(s z) B^T`` with ``s(f) ~ 1/max(f, 1/max(H, W))`` and B the colour basis. The complex z is stored
    as float32 ``[2, H, W//2 + 1, 3]``, real part and imaginary part.

    Args:
        height: height of the picture, in pixels.
        width: width of the picture, in pixels.
        gain: change of the picture per unit of a parameter. It sets the scale of the learning rate.

    Reference: Olah, Mordvintsev and Schubert, "Feature Visualization", 2017; Mordvintsev et al., "Differentiable Image
    Parameterizations", 2018.
    """

    height: int
    width: int
    gain: float = 0.3

    def _scale(self) -> Float[np.ndarray, "h k 1"]:
        h, w = self.height, self.width
        frequency = np.hypot(np.fft.fftfreq(h)[:, None], np.fft.rfftfreq(w)[None])
        scale = 1 / np.maximum(frequency, 1 / max(h, w))
        return (self.gain * np.sqrt(h * w) * scale / scale.mean()).astype(np.float32)[..., None]

    def encode(self, picture: Picture) -> Float[Array, "2 h k 3"]:
        """Return the coefficients of a picture [H, W, 3]."""
        channels = jnp.matmul(picture, np.linalg.inv(_COLOUR_BASIS).T.astype(np.float32), precision="highest")
        z = jnp.fft.rfft2(channels, axes=(0, 1)) / self._scale()
        return jnp.stack([z.real, z.imag])

    def decode(self, parameters: Float[Array, "2 h k 3"]) -> Picture:
        """Return the picture of coefficients [2, H, W//2 + 1, 3]."""
        z = (parameters[0] + 1j * parameters[1]) * self._scale()
        channels = jnp.fft.irfft2(z, s=(self.height, self.width), axes=(0, 1))
        return jnp.matmul(channels, _COLOUR_BASIS.T.astype(np.float32), precision="highest")

    def resize(
        self, parameters: Float[Array, "2 h k 3"], height: int, width: int, *, method: Resampling = "cubic"
    ) -> Float[Array, "2 {height} {width}//2+1 3"]:
        """Keep every wave with the same number of periods in the picture; add or drop the shorter ones.

        Along an even side that changes, the shortest wave (two pixels long) is dropped or added too: it stands for two
        waves that differ at another size.
        """
        resized = replace(self, height=height, width=width)
        rows, old_rows, new_rows = _match_frequencies(self.height, height, np.fft.fftfreq)
        columns, old_columns, new_columns = _match_frequencies(self.width, width, np.fft.rfftfreq)
        old, new = np.ix_(old_rows, old_columns), np.ix_(new_rows, new_columns)
        # The same wave needs another coefficient at another size: irfft2 divides by the number of pixels.
        factor = (self._scale()[old] / (self.height * self.width)) / (resized._scale()[new] / (height * width))
        if method != "linear":
            factor = factor * np.outer(rows, columns)[..., None]
        return parameters[:, old[0], old[1]] * factor.astype(np.float32)


def _match_frequencies(
    old: int, new: int, frequencies: Callable[[int], np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Match the frequencies of a side of ``new`` pixels to those of a side of ``old`` pixels.

    Returns:
        (exists, old_index, new_index), one entry for each new frequency: True if the old side has it, and the indices
        of the nearest frequency that both sides have.
    """
    periods = np.rint(frequencies(new) * new).astype(int)
    most = (min(old, new) - 1) // 2 if old != new else new
    nearest = np.clip(periods, -most, most)
    return nearest == periods, nearest % old, nearest % new


@dataclass(frozen=True)
class LaplacianPyramid:
    """A Laplacian pyramid: details at each size, from the finest level to the coarsest, and a small picture at the end.

    ``picture = p_0 + up(p_1 + up(p_2 + ...))``, where up is bilinear. For a picture x_0, ``p_i = x_i - up(x_{i+1})``
    with x_{i+1} half the size of x_i; the last p is the last x.

    Args:
        height: height of the picture, in pixels.
        width: width of the picture, in pixels.
        levels: how many times the sides are halved. Fewer if a side would fall below one pixel.

    Reference: Kolkin, Salavon and Shakhnarovich, "Style Transfer by Relaxed Optimal Transport and Self-Similarity"
    (STROTSS), 2019. Differs from its code: bilinear between the centres of pixels, not with corners aligned.
    """

    height: int
    width: int
    levels: int = 5

    def _sizes(self) -> list[tuple[int, int]]:
        """Return the (H, W) of every level, from the finest."""
        sizes = [(self.height, self.width)]
        while len(sizes) <= self.levels and min(sizes[-1]) >= 2:
            sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
        return sizes

    def encode(self, picture: Picture) -> tuple[Float[Array, "_ _ 3"], ...]:
        """Return the levels of a picture [H, W, 3]."""
        details, x = [], picture
        for size in self._sizes()[1:]:
            half = _resize_bilinear(x, size)
            details.append(x - _resize_bilinear(half, x.shape[:2]))
            x = half
        return (*details, x)

    def decode(self, parameters: tuple[Float[Array, "_ _ 3"], ...]) -> Picture:
        """Return the picture of these levels."""
        *details, x = parameters
        for detail in reversed(details):
            x = detail + _resize_bilinear(x, detail.shape[:2])
        return x

    def resize(
        self, parameters: tuple[Float[Array, "_ _ 3"], ...], height: int, width: int, *, method: Resampling = "cubic"
    ) -> tuple[Float[Array, "_ _ 3"], ...]:
        """Resize level by level, from the finest: the details of a level span the same number of pixels at both sizes.

        The coarsest level is resized to the coarsest. If one of the pictures is so small that it has fewer levels, the
        details in between are added or dropped.
        """
        *details, coarsest = parameters
        *sizes, coarsest_size = replace(self, height=height, width=width)._sizes()
        details = details[: len(sizes)]
        details += [coarsest if method == "linear" else jnp.zeros_like(coarsest)] * (len(sizes) - len(details))
        levels = zip([*details, coarsest], [*sizes, coarsest_size], strict=True)
        return tuple(resize_picture(level, *size, method) for level, size in levels)


def find_finest_details(picture: Picture) -> Picture:
    """Return the finest level of a picture's Laplacian pyramid: the picture minus itself at half the size, enlarged."""
    return LaplacianPyramid(*picture.shape[:2], levels=1).encode(picture)[0]


def _resize_bilinear(x: Array, size: tuple[int, ...]) -> Array:
    return jax.image.resize(x, (*size, 3), "linear", antialias=False)
