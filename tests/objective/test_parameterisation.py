import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import smooth_picture

from nstjax.parameterisation import Fourier, LaplacianPyramid, Pixels

SIZES = [(8, 8), (7, 9), (16, 5), (1, 6), (33, 20)]
CHANGES = [((8, 8), (11, 16)), ((7, 9), (10, 12)), ((33, 20), (48, 20)), ((16, 24), (9, 10)), ((1, 6), (2, 9))]


encode = jax.jit(lambda parameterisation, picture: parameterisation.encode(picture), static_argnums=0)
decode = jax.jit(lambda parameterisation, parameters: parameterisation.decode(parameters), static_argnums=0)


@functools.partial(jax.jit, static_argnums=(0, 2, 3), static_argnames="method")
def resize(parameterisation, parameters, height, width, method="cubic"):
    return parameterisation.resize(parameters, height, width, method=method)


def parameterisations(height, width):
    return Pixels(), Fourier(height, width), LaplacianPyramid(height, width)


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


def test_a_step_along_the_gradient_of_a_pixel_moves_that_pixel_most():
    fourier = Fourier(9, 7)
    parameters = fourier.encode(jnp.full((9, 7, 3), 0.5))
    gradient = jax.jit(jax.grad(lambda p: fourier.decode(p)[4, 2, 1]))(parameters)
    moved = fourier.decode(parameters + 1e-3 * gradient) - fourier.decode(parameters)
    assert jnp.unravel_index(jnp.argmax(moved[..., 1]), (9, 7)) == (4, 2)


def test_equal_parameterisations_compare_equal():
    assert Fourier(4, 5) == Fourier(4, 5) and hash(Fourier(4, 5)) == hash(Fourier(4, 5))
    assert Fourier(4, 5) != Fourier(5, 4)
    assert LaplacianPyramid(4, 5) == LaplacianPyramid(4, 5, levels=5) != LaplacianPyramid(4, 5, levels=2)
    assert hash(LaplacianPyramid(4, 5)) == hash(LaplacianPyramid(4, 5))


@pytest.mark.parametrize(
    ("size", "levels", "sides"),
    [
        ((64, 96), 5, [(64, 96), (32, 48), (16, 24), (8, 12), (4, 6), (2, 3)]),
        ((33, 20), 2, [(33, 20), (16, 10), (8, 5)]),
        ((7, 9), 5, [(7, 9), (3, 4), (1, 2)]),  # a side of one pixel is not halved
        ((1, 6), 5, [(1, 6)]),
    ],
)
def test_the_pyramid_halves_the_sides_at_each_level(size, levels, sides):
    parameters = encode(LaplacianPyramid(*size, levels=levels), jnp.asarray(smooth_picture(*size)))
    assert [leaf.shape for leaf in parameters] == [(*side, 3) for side in sides]


def test_one_level_of_the_pyramid_equals_the_formula():
    """Halving takes means of 2x2 pixels; doubling interpolates at quarters between centres."""
    picture = smooth_picture(4, 6).astype(np.float64)
    half = picture.reshape(2, 2, 3, 2, 3).mean(axis=(1, 3))

    def double(x, n):
        place = np.clip((np.arange(2 * n) + 0.5) / 2 - 0.5, 0, n - 1)
        low = np.minimum(place.astype(int), n - 2)
        share = (place - low)[:, None, None]
        return (1 - share) * x[low] + share * x[low + 1]

    up = double(double(half, 2).swapaxes(0, 1), 3).swapaxes(0, 1)
    fine, coarse = LaplacianPyramid(4, 6, levels=1).encode(jnp.float32(picture))
    np.testing.assert_allclose(coarse, half, atol=1e-6)
    np.testing.assert_allclose(fine, picture - up, atol=1e-6)


def test_gradient_reaches_every_level():
    pyramid = LaplacianPyramid(33, 20)
    gradient = jax.jit(jax.grad(lambda p: jnp.sum(pyramid.decode(p) ** 2)))(encode(pyramid, jnp.full((33, 20, 3), 0.5)))
    assert len(gradient) == 5 and all(jnp.all(level != 0) for level in gradient)


@pytest.mark.parametrize(("size", "new_size"), CHANGES)
def test_resized_parameters_have_the_new_shape_and_keep_constant_pictures_and_linear_ones_their_sign(size, new_size):
    """A mean of squared gradients must not become negative or zero, since Adam divides by its root."""
    pairs = [*zip(parameterisations(*size), parameterisations(*new_size), strict=True)]

    @jax.jit
    def run(constant, picture):
        resized = [old.resize(old.encode(constant), *new_size, method="cubic") for old, _ in pairs]
        decoded = [new.decode(parameters) for (_, new), parameters in zip(pairs, resized, strict=True)]
        squares = [jax.tree.map(lambda leaf: 0.1 + leaf**2, old.encode(picture)) for old, _ in pairs]
        means = [
            old.resize(leaves, *new_size, method="linear") for (old, _), leaves in zip(pairs, squares, strict=True)
        ]
        return resized, decoded, means

    resized, decoded, means = run(jnp.full((*size, 3), 0.4), smooth_picture(*size))
    for (_, new), parameters, picture in zip(pairs, resized, decoded, strict=True):
        form = jax.eval_shape(new.encode, jnp.zeros((*new_size, 3)))
        assert jax.tree.map(jnp.shape, parameters) == jax.tree.map(lambda leaf: leaf.shape, form)
        np.testing.assert_allclose(picture, np.full((*new_size, 3), 0.4), atol=3e-6)
    assert all(jnp.all(leaf > 0) for leaf in jax.tree.leaves(means))


@pytest.mark.parametrize("size", SIZES)
def test_decode_undoes_encode_and_resizing_to_the_same_size_changes_nothing(size):
    all_parameterisations = parameterisations(*size)

    @jax.jit
    def run(picture):
        parameters = [parameterisation.encode(picture) for parameterisation in all_parameterisations]
        both = [*zip(all_parameterisations, parameters, strict=True)]
        resized = {
            method: [parameterisation.resize(leaves, *size, method=method) for parameterisation, leaves in both]
            for method in ("cubic", "linear")
        }
        return parameters, [parameterisation.decode(leaves) for parameterisation, leaves in both], resized

    picture = smooth_picture(*size)
    parameters, decoded, resized = run(picture)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(parameters))
    for actual in decoded:
        # Rounding of a float32 transform and its inverse: a few units in the last place of values up to one.
        np.testing.assert_allclose(actual, picture, atol=2e-6)
    for actual in resized.values():
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), parameters, actual)


def test_pixels_are_resized_by_jax():
    picture = jnp.asarray(smooth_picture(12, 9))
    for method in ("cubic", "linear"):
        expected = jax.image.resize(picture, (17, 13, 3), method)
        np.testing.assert_array_equal(Pixels().resize(picture, 17, 13, method=method), expected)


@pytest.mark.parametrize(("size", "new_size"), [((12, 16), (18, 24)), ((12, 16), (17, 23)), ((11, 15), (16, 16))])
def test_fourier_keeps_every_wave_that_both_sizes_have(size, new_size):
    """Such waves are the same function of the place at both sizes, sampled at other pixels."""

    def waves(h, w):
        y, x = np.mgrid[:h, :w][..., None] * 2 * np.pi / np.array([h, w])[:, None, None, None]
        phases = np.array([0.0, 1.0, 2.0])
        return jnp.float32(0.5 + 0.2 * np.sin(3 * y - 2 * x + phases) + 0.1 * np.cos(5 * y + 6 * x - phases))

    small, large = Fourier(*size), Fourier(*new_size)
    up = resize(small, encode(small, waves(*size)), *new_size)
    np.testing.assert_allclose(decode(large, up), waves(*new_size), atol=5e-6)
    down = resize(large, encode(large, waves(*new_size)), *size)
    np.testing.assert_allclose(decode(small, down), waves(*size), atol=5e-6)


def test_the_pyramid_resizes_level_by_level():
    old = LaplacianPyramid(64, 96)
    levels = old.encode(jnp.asarray(smooth_picture(64, 96)))
    resized = old.resize(levels, 90, 136)
    sides = [(90, 136), (45, 68), (22, 34), (11, 17), (5, 8), (2, 4)]
    for level, side, resized_level in zip(levels, sides, resized, strict=True):
        np.testing.assert_array_equal(resized_level, jax.image.resize(level, (*side, 3), "cubic"))
