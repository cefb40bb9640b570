"""Divergence: the loss against its lowest value, and against its scale where that value measures nothing."""

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import narrow_vgg19, smooth_picture

from nstjax import losses, statistics
from nstjax.divergence import has_diverged, measure_scale
from nstjax.objective import Objective, content_term, style_term
from nstjax.types import PictureTerm


@pytest.mark.parametrize(
    ("total", "lowest", "scale", "diverged"),
    [
        (1.0, np.inf, 1.0, False),  # the first step
        (999.0, 1.0, 0.0, False),
        (1001.0, 1.0, 0.0, True),
        (1001.0, 1.0, 4.0, False),  # the lowest loss counts as 2
        (2001.0, 1.0, 4.0, True),
        (400.0, 1e-15, 1.0, False),  # a start next to the minimum
        (501.0, 1e-15, 1.0, True),
        (501.0, 0.0, 1.0, True),
        (501.0, 0.0, 0.0, False),  # nothing to compare with
        (501.0, -1.0, 0.1, False),  # a loss that may be negative
        (np.nan, 1.0, 1.0, True),
        (np.inf, np.inf, 1.0, True),
    ],
)
def test_a_loss_diverges_far_above_its_lowest_value_or_its_scale(total, lowest, scale, diverged):
    total, lowest, scale = map(jnp.float32, (total, lowest, scale))
    assert bool(has_diverged(total, jnp.zeros(2), lowest=lowest, scale=scale)) is diverged


def test_a_gradient_that_is_not_finite_has_diverged():
    gradient = {"a": jnp.ones(2), "b": jnp.array([1.0, jnp.nan])}
    assert has_diverged(jnp.float32(1), gradient, lowest=jnp.float32(1), scale=0.0)


@pytest.mark.parametrize("content", [smooth_picture(24, 20), np.full((24, 20, 3), 0.5, np.float32)])
def test_the_scale_is_that_of_two_different_pictures(content):
    vgg, other = narrow_vgg19("block1_conv2"), smooth_picture(24, 20, seed=5)
    terms = (
        content_term(("relu1_2",), losses.layer_sum(losses.variance_scaled)),
        style_term(("relu1_1",), statistics.gram, losses.layer_sum(losses.relative_squared)),
        PictureTerm("undefined", lambda picture: jnp.mean(picture) * jnp.nan),
    )
    objective = Objective(terms)
    targets = objective.targets(vgg, content=content, style=content)
    for name, sign in (("content", 1.0), ("style", -1.0)):
        weights = {"content": 0.0, "style": 0.0, "undefined": 1.0, name: 2.0 * sign}
        scale = measure_scale(vgg, jnp.asarray(content), targets, weights, None, objective=objective)
        _, values = objective(jnp.asarray(other), network=vgg, targets=targets, weights=weights)
        assert 0.1 * values[name] < scale < 1000 * values[name]
