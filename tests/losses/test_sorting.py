"""Tests of sorting: the same results as jax.numpy, whatever the numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nstjax.losses.sorting import argsort_rows, sort_rows

SPECIAL = np.float32([[3, -0.0, np.inf, 0.0, -1, -np.inf, -1, 3e38, 0.0, -3e38]])
"""Both zeros, infinities and equal numbers."""


@pytest.mark.parametrize("x", [SPECIAL, np.random.default_rng(0).standard_normal((5, 1000), np.float32)])
def test_sorting_is_that_of_numpy(x):
    order = jax.jit(argsort_rows)(x)
    np.testing.assert_array_equal(order, np.argsort(x, axis=1, kind="stable"))
    np.testing.assert_array_equal(jax.jit(sort_rows)(x), np.sort(x, axis=1))
    np.testing.assert_array_equal(jax.vmap(argsort_rows)(x[None])[0], order)
    assert order.dtype == jnp.int32


def test_what_is_not_a_number_comes_last():
    assert jnp.isnan(sort_rows(jnp.float32([[jnp.nan, 1, jnp.inf]]))).tolist() == [[False, False, True]]


def test_gradients_go_to_the_places_that_the_numbers_came_from():
    x, weights = jnp.float32([[3, 1, 2], [5, 5, 4]]), jnp.float32([[1, 10, 100], [1, 10, 100]])
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(weights * sort_rows(x))))(x)
    np.testing.assert_array_equal(gradient, [[100, 1, 10], [10, 100, 1]])


def test_numbers_of_other_dtypes_are_sorted_too():
    x = jnp.bfloat16([[2, -1, 0.5]])
    assert argsort_rows(x).tolist() == [[1, 2, 0]] and sort_rows(x).tolist() == [[-1, 0.5, 2]]
