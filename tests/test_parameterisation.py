import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import smooth_picture

from nstjax.parameterisation import Fourier, Pixels

SIZES = [(8, 8), (7, 9), (16, 5), (1, 6), (33, 20)]


@pytest.mark.parametrize("size", SIZES)
def test_decode_undoes_encode(size):
    picture = smooth_picture(*size)
    for it in (Pixels(), Fourier(*size)):
        parameters = it.encode(jnp.asarray(picture))
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(parameters))
        # A float32 transform there and back: a few units in the last place of values up to one.
        np.testing.assert_allclose(it.decode(parameters), picture, atol=2e-6)


@pytest.mark.parametrize("size", SIZES)
def test_fourier_equals_the_formula_in_float64(size):
    h, w = size
    z = np.random.default_rng(0).standard_normal((2, h, w // 2 + 1, 3))
    frequency = np.sqrt(np.fft.fftfreq(h)[:, None] ** 2 + np.fft.rfftfreq(w)[None] ** 2)
    s = 1 / np.maximum(frequency, 1 / max(h, w))
    s = 0.3 * np.sqrt(h * w) * s / s.mean()
    basis = np.array([[0.26, 0.09, 0.02], [0.27, 0, -0.05], [0.27, -0.09, 0.03]])
    basis /= np.sqrt((basis**2).sum(0)).max()
    channels = np.fft.irfft2((z[0] + 1j * z[1]) * s[..., None], s=size, axes=(0, 1))
    expected = np.einsum("hwc,kc->hwk", channels, basis)
    np.testing.assert_allclose(Fourier(h, w).decode(jnp.float32(z)), expected, rtol=1e-4, atol=1e-5)


def test_gradient_reaches_every_picture():
    """The gradient of a pixel with respect to the coefficients, followed, moves that pixel."""
    it = Fourier(9, 7)
    parameters = it.encode(jnp.full((9, 7, 3), 0.5))
    gradient = jax.grad(lambda p: it.decode(p)[4, 2, 1])(parameters)
    moved = it.decode(parameters + 1e-3 * gradient) - it.decode(parameters)
    assert jnp.unravel_index(jnp.argmax(moved[..., 1]), (9, 7)) == (4, 2)


def test_equal_parameterisations_compare_equal():
    assert Fourier(4, 5) == Fourier(4, 5) and hash(Fourier(4, 5)) == hash(Fourier(4, 5))
    assert Fourier(4, 5) != Fourier(5, 4)
