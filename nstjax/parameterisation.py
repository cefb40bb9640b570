"""What is optimised <-> the picture: a pair of pure functions each, ``decode(encode(picture)) == picture``.

Adam moves every coordinate at the same rate, so the coordinates decide what it draws first: single pixels, or whole
waves, the long ones before the short.
"""

from dataclasses import dataclass
from typing import Protocol

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from nstjax.types import Picture


class Parameterisation(Protocol):
    """A pure pair of functions; compares equal to another of equal settings."""

    def encode(self, picture: Picture) -> PyTree:
        """The parameters of a picture."""
        ...

    def decode(self, parameters: PyTree) -> Picture:
        """The picture of parameters."""
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
