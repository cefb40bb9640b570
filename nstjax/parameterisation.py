"""What is optimised <-> the picture: a pair of pure functions each, ``decode(encode(picture)) == picture``.

Adam moves every coordinate at the same rate, so the coordinates decide what it draws first: single pixels, or whole
waves, the long ones before the short, or patches of many sizes at once.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from nstjax.types import Picture

Resampling = Literal["cubic", "linear"]
"""How ``resize`` reads between coordinates. "cubic" is for what has a sign: parameters, means of gradients. Coordinates
that have no counterpart at the old size become zero. "linear" is for what is never negative, such as means of squared
gradients, and leaves it so. New coordinates there take the nearest one's value: after a zero Adam's steps, which divide
by the root, would for a while be several times too long."""


class Parameterisation(Protocol):
    """A pure pair of functions; compares equal to another of equal settings."""

    def encode(self, picture: Picture) -> PyTree:
        """The parameters of a picture."""
        ...

    def decode(self, parameters: PyTree) -> Picture:
        """The picture of parameters."""
        ...

    def resize(self, parameters: PyTree, height: int, width: int, *, method: Resampling = "cubic") -> PyTree:
        """The same for a picture [height, width]; a linear function of the parameters.

        Args:
            parameters: these, or a tree in their shape, such as Adam's moments.
            height: of the new picture, whose parameterisation is this one with another size.
            width: likewise.
            method: see ``Resampling``.
        """
        ...


@dataclass(frozen=True)
class Pixels:
    """The parameters are the picture."""

    def encode(self, picture: Picture) -> Picture:
        """The picture itself."""
        return picture

    def decode(self, parameters: Picture) -> Picture:
        """The picture itself."""
        return parameters

    def resize(
        self, parameters: Picture, height: int, width: int, *, method: Resampling = "cubic"
    ) -> Float[Array, "{height} {width} 3"]:
        """Resampled like any picture; nothing in it is new."""
        return jax.image.resize(parameters, (height, width, 3), method)


PIXELS = Pixels()

_COLOUR_BASIS = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
_COLOUR_BASIS /= np.linalg.norm(_COLOUR_BASIS, axis=0).max()
"""Columns: the principal axes of colours in natural pictures (lightness, warm-cold, green-magenta), scaled by their
spread; the constants of Lucid's ``color_correlation_svd_sqrt``."""


@dataclass(frozen=True)
class Fourier:
    """Real Fourier coefficients, scaled by 1/frequency, of decorrelated colour channels.

    ``picture = irfft2(s z) B^T`` with ``s(f) ~ 1/max(f, 1/max(H, W))`` and B the colour basis. The complex z is held as
    float32 ``[2, H, W//2 + 1, 3]``, real and imaginary part.

    Args:
        gain: how far one unit of a parameter moves the picture, so what a learning rate means.

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
        """The coefficients of a picture [H, W, 3]."""
        channels = jnp.matmul(picture, np.linalg.inv(_COLOUR_BASIS).T.astype(np.float32), precision="highest")
        z = jnp.fft.rfft2(channels, axes=(0, 1)) / self._scale()
        return jnp.stack([z.real, z.imag])

    def decode(self, parameters: Float[Array, "2 h k 3"]) -> Picture:
        """The picture of coefficients [2, H, W//2 + 1, 3]."""
        z = (parameters[0] + 1j * parameters[1]) * self._scale()
        channels = jnp.fft.irfft2(z, s=(self.height, self.width), axes=(0, 1))
        return jnp.matmul(channels, _COLOUR_BASIS.T.astype(np.float32), precision="highest")

    def resize(
        self, parameters: Float[Array, "2 h k 3"], height: int, width: int, *, method: Resampling = "cubic"
    ) -> Float[Array, "2 {height} {width}//2+1 3"]:
        """The same waves, by the number of their periods in the picture; shorter ones are new, or left out.

        So are, along a side that changes, its shortest wave of all (two pixels long, where a side is even): it stands
        for two waves that differ at another size.
        """
        to = replace(self, height=height, width=width)
        rows, old_rows, new_rows = _counterparts(self.height, height, np.fft.fftfreq)
        columns, old_columns, new_columns = _counterparts(self.width, width, np.fft.rfftfreq)
        old, new = np.ix_(old_rows, old_columns), np.ix_(new_rows, new_columns)
        # What one unit of a coefficient adds to the picture, there and here: irfft2 divides by the number of pixels.
        unit = (self._scale()[old] / (self.height * self.width)) / (to._scale()[new] / (height * width))
        if method == "cubic":
            unit = unit * np.outer(rows, columns)[..., None]
        return parameters[:, old[0], old[1]] * unit.astype(np.float32)


def _counterparts(
    old: int, new: int, frequencies: Callable[[int], np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each frequency of a side of ``new`` pixels: whether ``old`` pixels have it; where the nearest is in both."""
    wanted = np.rint(frequencies(new) * new).astype(int)
    longest = (min(old, new) - 1) // 2 if old != new else new
    nearest = np.clip(wanted, -longest, longest)
    return nearest == wanted, nearest % old, nearest % new


@dataclass(frozen=True)
class LaplacianPyramid:
    """Details of each size, and what is left: pictures of half the sides each, from the finest to the coarsest.

    ``picture = p_0 + up(p_1 + up(p_2 + ...))``, where up is bilinear; of a picture x_0, ``p_i = x_i - up(x_{i+1})``
    with x_{i+1} the half of x_i, and the last p is the last x.

    Args:
        levels: how many times the sides are halved, as long as both have two pixels or more.

    Reference: Kolkin, Salavon and Shakhnarovich, "Style Transfer by Relaxed Optimal Transport and Self-Similarity"
    (STROTSS), 2019. Differs from its code: bilinear between the centres of pixels, not with corners aligned.
    """

    height: int
    width: int
    levels: int = 5

    def _sizes(self) -> list[tuple[int, int]]:
        """Of the levels, from the finest."""
        sizes = [(self.height, self.width)]
        while len(sizes) <= self.levels and min(sizes[-1]) >= 2:
            sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
        return sizes

    def encode(self, picture: Picture) -> tuple[Float[Array, "_ _ 3"], ...]:
        """The levels of a picture [H, W, 3]."""
        details, x = [], picture
        for size in self._sizes()[1:]:
            half = _bilinear(x, size)
            details.append(x - _bilinear(half, x.shape[:2]))
            x = half
        return (*details, x)

    def decode(self, parameters: tuple[Float[Array, "_ _ 3"], ...]) -> Picture:
        """The picture of its levels."""
        *details, x = parameters
        for detail in reversed(details):
            x = detail + _bilinear(x, detail.shape[:2])
        return x

    def resize(
        self, parameters: tuple[Float[Array, "_ _ 3"], ...], height: int, width: int, *, method: Resampling = "cubic"
    ) -> tuple[Float[Array, "_ _ 3"], ...]:
        """Level by level, from the finest: a level's details span as many pixels at either size.

        The coarsest comes from the coarsest. Where tiny pictures have fewer levels, the details between are new, or
        left out.
        """
        *details, rest = parameters
        *sizes, last = replace(self, height=height, width=width)._sizes()
        details = details[: len(sizes)]
        details += [rest if method == "linear" else jnp.zeros_like(rest)] * (len(sizes) - len(details))
        levels = zip([*details, rest], [*sizes, last], strict=True)
        return tuple(jax.image.resize(level, (*size, 3), method) for level, size in levels)


def _bilinear(x: Array, size: tuple[int, ...]) -> Array:
    return jax.image.resize(x, (*size, 3), "linear", antialias=False)
