import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import convolve64
from jax import lax

from nstjax.errors import UserError
from nstjax.network import convolution

pytestmark = pytest.mark.usefixtures("strict_dtypes")

SHAPES = [(8, 8), (7, 5), (2, 3), (1, 4), (1, 1)]
PADDINGS = {"zero": "constant", "edge": "edge", "reflect": "reflect"}


def make_example(h, w, c=5, k=4):
    generator = np.random.default_rng(0)
    return (
        generator.standard_normal((h, w, c)).astype(np.float32),
        generator.standard_normal((3, 3, c, k)).astype(np.float32),
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("padding", PADDINGS)
def test_convolution_equals_float64(shape, padding):
    x, kernel = make_example(*shape)
    # NumPy, too, repeats a single position when it reflects.
    expected = convolve64(x, kernel, 0.0, mode=PADDINGS[padding])
    y = convolution.apply(jnp.asarray(x), convolution.prepare(kernel), padding=padding)
    assert y.dtype == jnp.float32
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)  # float32 sums of 45 products of order one


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("padding", PADDINGS)
def test_gradients_equal_those_of_jaxs_rule(shape, padding):
    x, kernel = map(jnp.asarray, make_example(*shape))
    prepared = convolution.prepare(np.asarray(kernel))

    def plain(x, kernel):
        for axis in (0, 1):
            mode = "edge" if padding == "reflect" and x.shape[axis] == 1 else PADDINGS[padding]
            x = jnp.pad(x, [(1, 1) if a == axis else (0, 0) for a in range(3)], mode=mode)
        y = lax.conv_general_dilated(x[None], kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return jnp.sum(jnp.sin(y))

    def ours(x, prepared):
        return jnp.sum(jnp.sin(convolution.apply(x, prepared, padding=padding)))

    expected_x, expected_kernel = jax.jit(jax.grad(plain, (0, 1)))(x, kernel)
    gradient_x, gradient = jax.jit(jax.grad(ours, (0, 1)))(x, prepared)
    np.testing.assert_allclose(gradient_x, expected_x, rtol=1e-4, atol=1e-5)  # float32 sums in another order
    np.testing.assert_allclose(gradient.kernel, expected_kernel, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("unchecked_types")
def test_an_unknown_backend_is_refused():
    with pytest.raises(UserError, match="expected one of direct, winograd"):
        convolution.prepare(make_example(3, 3)[1], backend="fast")  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(8, 8), (7, 5), (2, 3)])
@pytest.mark.parametrize("pooling", ["max", "average", "l2"])
def test_pooling_equals_a_loop_in_numpy(shape, pooling):
    x, _ = make_example(*shape)
    reduce = {"max": np.max, "average": np.mean, "l2": lambda a, axis: np.sqrt(np.sum(a**2, axis))}[pooling]
    expected = [
        [reduce(x[2 * i : 2 * i + 2, 2 * j : 2 * j + 2], axis=(0, 1)) for j in range(shape[1] // 2)]
        for i in range(shape[0] // 2)
    ]
    np.testing.assert_allclose(convolution.pool(jnp.asarray(x), pooling), expected, rtol=1e-6)


@pytest.mark.parametrize("pooling", ["max", "average", "l2"])
def test_pooling_has_a_finite_gradient_on_zeros(pooling):
    gradient = jax.grad(lambda x: convolution.pool(x, pooling).sum())(jnp.zeros((4, 4, 2)))
    assert jnp.isfinite(gradient).all()


def test_max_pooling_passes_its_gradient_to_one_position():
    x = jnp.array([[1.0, 3.0], [2.0, 0.0]])[..., None]
    gradient = jax.grad(lambda x: convolution.pool(x, "max").sum())(x)
    np.testing.assert_array_equal(gradient[..., 0], [[0, 1], [0, 0]])


def test_the_first_of_equal_values_gets_the_gradient():
    for values in itertools.product([0.0, 1.0], repeat=4):
        x = jnp.array(values).reshape(2, 2, 1)
        gradient = jax.grad(lambda x: convolution.pool(x, "max").sum())(x)
        np.testing.assert_array_equal(jnp.flatnonzero(gradient.ravel()), [int(np.argmax(values))])


@pytest.mark.parametrize("shape", [(6, 8, 3), (7, 5, 2)])
def test_the_gradient_of_max_pooling_equals_jaxs_if_no_values_are_equal(shape):
    x = jnp.asarray(make_example(*shape)[0][..., : shape[2]])
    h, w, c = shape

    def plain(x):
        return jnp.sum(jnp.sin(x[: h // 2 * 2, : w // 2 * 2].reshape(h // 2, 2, w // 2, 2, c).max((1, 3))))

    gradient = jax.jit(jax.grad(lambda x: jnp.sum(jnp.sin(convolution.pool(x, "max")))))(x)
    np.testing.assert_array_equal(gradient, jax.jit(jax.grad(plain))(x))


def test_relu_equals_jaxs():
    x = jnp.array([-2.0, -0.0, 0.0, 3.0, jnp.nan])
    np.testing.assert_array_equal(convolution.relu(x), jax.nn.relu(x))
    x = x[:4]
    np.testing.assert_array_equal(
        jax.grad(lambda x: jnp.sum(convolution.relu(x) ** 3 + convolution.relu(x)))(x), [0, 0, 0, 28]
    )
