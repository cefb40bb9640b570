"""The presets against their formulas, in float64, on a narrow VGG19 with random weights."""

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import features64, narrow_vgg19, random_parameters, smooth_picture

from nstjax.architecture import FLAVOURS
from nstjax.experiment import load
from nstjax.objective import Objective

CONTENT, STYLE, PICTURE = (smooth_picture(32, 40, seed=seed) for seed in range(3))
NETWORK = narrow_vgg19(flavour="caffe", precision="highest")
OF_CONTENT, OF_STYLE, OF_PICTURE = (
    features64(random_parameters(), FLAVOURS["caffe"], it) for it in (CONTENT, STYLE, PICTURE)
)
FIRSTS = [f"block{i}_conv1" for i in range(1, 6)]


def gram(x):
    rows = x.reshape(-1, x.shape[-1])
    return rows.T @ rows / len(rows)


def values(preset):
    """{term: its value} at PICTURE, and the total."""
    experiment = load(preset)
    objective = Objective(tuple(experiment.terms(experiment.config)))
    targets = objective.targets(NETWORK, content=jnp.asarray(CONTENT), style=jnp.asarray(STYLE))
    total, parts = objective(
        jnp.asarray(PICTURE), network=NETWORK, targets=targets, weights=experiment.config.loss_weights
    )
    return {name: float(value) for name, value in parts.items()}, float(total)


def differences(p):
    p = p.astype(np.float64)
    return p[:, 1:] - p[:, :-1], p[1:] - p[:-1]


def tutorial():
    style = [np.mean((gram(OF_PICTURE[n]) - gram(OF_STYLE[n])) ** 2) for n in np.array(FIRSTS)[[0, 2, 4]]]
    content = np.mean((OF_PICTURE["block5_conv2"] - OF_CONTENT["block5_conv2"]) ** 2)
    return {"content": content, "style": np.mean(style)}, {"content": 10, "style": 1000}


def long_run():
    style = [np.mean((gram(OF_PICTURE[n]) - gram(OF_STYLE[n])) ** 2) / OF_STYLE[n].shape[-1] ** 2 for n in FIRSTS]
    content = np.sum((OF_PICTURE["block5_conv2"] - OF_CONTENT["block5_conv2"]) ** 2) / 2
    tv = sum(np.sum((255 * d) ** 2) for d in differences(PICTURE))
    return {"content": content, "style": np.mean(style), "tv": tv}, {"content": 1, "style": 1e4, "tv": 10}


def tutorial_literal():
    style = tutorial()[0]["style"]
    return {"content": style, "style": style}, {"content": 10, "style": 1000}


@pytest.mark.parametrize("reference", [tutorial, tutorial_literal, long_run])
def test_terms_and_weights_are_the_sources(reference):
    expected, weights = reference()
    found, total = values(reference.__name__.replace("_", "-"))
    assert load(reference.__name__.replace("_", "-")).config.loss_weights == weights
    assert set(found) == set(expected)
    for name, value in expected.items():
        # Squares of differences of like float32 features: their relative error of 1e-6 is doubled and amplified.
        np.testing.assert_allclose(found[name], value, rtol=1e-4)
    np.testing.assert_allclose(total, sum(weights[name] * value for name, value in expected.items()), rtol=1e-4)


def test_the_tutorials_listing_is_1010_times_its_style_cost():
    found, total = values("tutorial-literal")
    np.testing.assert_allclose(total, 1010 * found["style"], rtol=1e-6)
    np.testing.assert_allclose(found["style"], values("tutorial")[0]["style"], rtol=1e-6)
    terms = load("tutorial-literal").terms(load("tutorial-literal").config)
    assert {term.target for term in terms} == {"style"}  # the content enters only through the start


def test_the_settings_that_the_sources_state():
    run, tutorial, literal = (load(name).config for name in ("long-run", "tutorial", "tutorial-literal"))
    assert run.steps == 30_000 and run.snapshots == (3_000, 9_000, 17_000, 23_000, 30_000) and run.init == "content"
    assert tutorial.steps == 50 and tutorial.keep == "best" and tutorial.log_every == 1
    np.testing.assert_allclose(tutorial.learning_rate * 255, 0.7)
    assert tutorial.snapshots == tuple(range(41, 51)) and literal.snapshots == tuple(range(40, 50))
    assert literal.keep == "after-best"
