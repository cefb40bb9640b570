"""Targets that a function of the experiment makes: of both pictures, and of the picture with which a size begins."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import narrow_vgg19, smooth_picture
from quick_run import StopAt, read_losses

import nstjax
from nstjax import losses, statistics
from nstjax.blending import Mixture
from nstjax.errors import UserError
from nstjax.experiment.experiment import load
from nstjax.objective import Objective
from nstjax.types import Term

NETWORK = narrow_vgg19("block2_conv1", precision="highest")
LAYERS = ("relu1_1", "relu2_1")
CONTENT, STYLE, OTHER = (jnp.asarray(smooth_picture(16, 24, seed=seed)) for seed in range(3))
MAPS, MSE = statistics.per_layer(statistics.feature_map), losses.layer_sum(losses.mean_squared)


def brightened(network, content, style):
    return network.features(content + jnp.mean(style), LAYERS)


def blended_with_start(network, content, style, start):
    return network.features(0.5 * content + 0.25 * style + 0.25 * start, LAYERS)


def make_objective(target, statistic=MAPS):
    return Objective((Term("style", LAYERS, statistic, MSE, target),))


def evaluate(objective, targets):
    return objective(OTHER, network=NETWORK, targets=targets, weights={"style": 1.0})[0]


def distance_from(picture):
    features, others = (NETWORK.features(x, LAYERS) for x in (OTHER, picture))
    return sum(np.mean((features[layer] - others[layer]) ** 2) for layer in LAYERS)


def test_a_function_makes_the_target_of_both_pictures():
    objective = make_objective(brightened)
    targets = objective.targets(NETWORK, content=CONTENT, style=STYLE)
    assert not objective.needs_start
    expected = distance_from(CONTENT + jnp.mean(STYLE))
    np.testing.assert_allclose(evaluate(objective, targets), expected, rtol=1e-5)


def test_a_function_with_an_argument_named_start_waits_for_it():
    objective = make_objective(blended_with_start)
    assert objective.needs_start
    targets = jax.jit(lambda: objective.targets(NETWORK, content=CONTENT, style=STYLE))()
    for start in (CONTENT, 1 - CONTENT):
        expected = distance_from(0.5 * CONTENT + 0.25 * STYLE + 0.25 * start)
        completed = objective.complete_targets(targets, NETWORK, start)
        np.testing.assert_allclose(evaluate(objective, completed), expected, rtol=1e-5)


@pytest.mark.parametrize("target", [brightened, blended_with_start])
def test_losses_are_blended_over_styles(target):
    """Also where a statistic could be blended: what the function does to it is unknown."""
    objective = make_objective(target, statistics.per_layer(statistics.mean))
    objective = Objective((dataclasses.replace(objective.terms[0], statistic=MAPS),))
    styles = [STYLE, 1 - STYLE]

    def compute(style, **blend):
        targets = objective.targets(NETWORK, content=CONTENT, style=style, **blend)
        return objective.complete_targets(targets, NETWORK, CONTENT)

    blended = compute(styles, blend=[1.0, 3.0])
    assert isinstance(blended["style"], Mixture)
    alone = [evaluate(objective, compute(style)) for style in styles]
    np.testing.assert_allclose(evaluate(objective, blended), 0.25 * alone[0] + 0.75 * alone[1], rtol=1e-5)
    np.testing.assert_allclose(evaluate(objective, compute(styles, blend=[1.0, 0.0])), alone[0], rtol=1e-5)


def test_functions_that_do_not_fit_are_refused_in_one_line():
    with pytest.raises(UserError, match=r"target of the term 'style', .*must take \(network, content, style\)"):
        make_objective(lambda network, style: network)
    with pytest.raises(UserError, match="must be content, style or a function, not 'texture'"):
        make_objective("texture")
    with pytest.raises(UserError, match="must return arrays, not None: is its return missing"):
        make_objective(lambda network, content, style: None).targets(NETWORK, content=CONTENT, style=STYLE)
    guides = [np.ones((2, 16, 24), np.float32)]
    with pytest.raises(UserError, match="cannot be guided by regions: its target is made by a function"):
        make_objective(brightened).targets(NETWORK, content=CONTENT, style=STYLE, style_guides=guides)


EXPERIMENT = """
def near(network, content, style, start):
    return network.features(0.7 * start + 0.3 * content, ("relu2_1",))


def terms(config):
    maps, gram = nstjax.per_layer(nstjax.statistics.feature_map), nstjax.per_layer(nstjax.statistics.gram)
    distance = nstjax.layer_sum(nstjax.losses.mean_squared)
    return (
        nstjax.Term("content", ("relu2_1",), maps, distance, near),
        nstjax.Term("style", ("relu1_1",), gram, distance, "style"),
        nstjax.PictureTerm("tv", nstjax.losses.total_variation_mean_squared),
    )
"""
SIZES = {"sizes": (20, 32), "steps": (5, 4), "log_every": 1, "snapshot_every": 2, "weights": "vgg.safetensors"}


@pytest.fixture
def experiment(workspace):
    Path("near.py").write_text(Path("quick.py").read_text().partition("def terms")[0] + EXPERIMENT)
    return load("near.py").replace(**SIZES)


def test_a_run_whose_targets_depend_on_the_start_of_a_size_resumes_to_the_same_bytes(experiment):
    """The start is a part of the state: after the size has begun, nothing else holds it."""
    whole = nstjax.stylize("content.png", "style.png", experiment=experiment, out="whole")
    for stop in (3, 7):
        out = f"stopped-at-{stop}"
        stopped = nstjax.stylize("content.png", "style.png", experiment=experiment, out=out, listener=StopAt(stop))
        assert stopped.steps < 9
        np.testing.assert_array_equal(nstjax.resume(out).picture, whole.picture)
        assert read_losses(out) == read_losses("whole")
    # The first size begins with the content, the second with what the first has made of it.
    lines = read_losses("whole")
    assert lines[0]["content"] < 1e-9 < 1e-6 < lines[5]["content"]


def test_each_member_of_a_sweep_has_its_own_start(experiment):
    vary, settings = {"style": [1.0, 300.0]}, {"experiment": experiment}
    swept = nstjax.sweep("content.png", "style.png", vary=vary, out="sweep", **settings)
    assert swept.finished
    for weight in vary["style"]:
        changed = experiment.replace(loss_weights={"style": weight})
        single = nstjax.stylize("content.png", "style.png", experiment=changed)
        member = nstjax.images.read(f"sweep/members/style={weight:g}/output.png").rgb
        assert np.abs(member - single.picture).mean() < 3e-3  # rounding to 8 bits
