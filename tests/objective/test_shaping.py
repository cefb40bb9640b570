import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nstjax.shaping import normalised_gradient

pytestmark = pytest.mark.usefixtures("strict_dtypes")

X = np.random.default_rng(0).standard_normal((4, 5, 3))


def weighted_loss(x, strength):
    """Return a term of the given weight on a shaped map; the gradient of its bare loss is cos x."""
    return strength * jnp.sum(jnp.sin(normalised_gradient(x, strength)))


def expected_gradient(strength):
    g = np.cos(X)
    return strength * g / (np.abs(g).sum() + 1e-8)


@pytest.mark.parametrize("strength", [1e-6, 0.3, 1.0, 1e4])
def test_the_gradients_norm_is_the_strength(strength):
    gradient = jax.grad(weighted_loss)(jnp.float32(X), jnp.float32(strength))
    assert gradient.dtype == jnp.float32
    np.testing.assert_allclose(gradient, expected_gradient(strength), rtol=1e-5)
    np.testing.assert_allclose(jnp.abs(gradient).sum(), strength, rtol=1e-5)
    with jax.enable_x64(True):
        gradient = jax.grad(weighted_loss)(jnp.asarray(X), jnp.asarray(strength))
        assert gradient.dtype == jnp.float64
        np.testing.assert_allclose(gradient, expected_gradient(strength), rtol=1e-12)
        single = jax.grad(lambda x: jnp.sum(normalised_gradient(x, jnp.float32(strength))))(jnp.asarray(X))
        assert single.dtype == jnp.float64


def test_epsilon_is_added_to_the_norm_of_the_bare_gradient():
    """A gradient as small as epsilon is halved, whatever the weight."""
    for strength in (1e-3, 1.0, 1e3):
        tiny = jax.grad(lambda x, w=strength: w * 1e-8 * normalised_gradient(x, jnp.float32(w))[0, 0, 0])
        np.testing.assert_allclose(tiny(jnp.zeros((1, 1, 1))), [[[strength / 2]]], rtol=1e-5)


def test_values_are_unchanged():
    x = jnp.float32(X)
    np.testing.assert_array_equal(normalised_gradient(x, 0.5), x)
    np.testing.assert_array_equal(jax.jit(normalised_gradient)(x, jnp.float32(2)), x)


def test_zero_strength_or_zero_gradient_gives_exactly_zero():
    x = jnp.float32(X)
    np.testing.assert_array_equal(jax.grad(weighted_loss)(x, jnp.float32(0)), jnp.zeros_like(x))
    np.testing.assert_array_equal(jax.grad(weighted_loss)(x, 0.0), jnp.zeros_like(x))
    flat = jax.grad(lambda x: jnp.sum(0 * normalised_gradient(x, jnp.float32(3))))
    np.testing.assert_array_equal(flat(x), jnp.zeros_like(x))


def test_vmap_over_strengths_or_maps_equals_a_loop():
    strengths = jnp.float32([0.0, 0.5, 20.0])
    gradient = jax.jit(jax.vmap(jax.grad(weighted_loss), in_axes=(None, 0)))(jnp.float32(X), strengths)
    np.testing.assert_allclose(gradient, np.stack([expected_gradient(s) for s in (0.0, 0.5, 20.0)]), rtol=1e-5)
    # In a batch of maps each map is divided by its norm.
    maps = jnp.float32(np.stack([X, 2 * X]))
    one_by_one = [jax.grad(weighted_loss)(x, strengths[1]) for x in maps]
    np.testing.assert_allclose(
        jax.vmap(jax.grad(weighted_loss), in_axes=(0, None))(maps, strengths[1]), jnp.stack(one_by_one), rtol=1e-6
    )


def test_the_strength_gets_no_gradient_through_the_map():
    """Its only gradient is the one it has as a factor: the value of the bare loss."""
    gradient = jax.grad(weighted_loss, argnums=1)(jnp.float32(X), jnp.float32(2))
    np.testing.assert_allclose(gradient, np.sin(X).sum(), rtol=1e-5)
