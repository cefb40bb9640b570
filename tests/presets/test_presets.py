"""Terms of three presets compared with NumPy in float64, on a narrow random VGG19; settings of all presets.

Terms of other systems' presets are compared with those systems in ``test_gram_family.py``.
"""

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import features64, narrow_vgg19, random_parameters, smooth_picture

from nstjax.experiment.experiment import load, presets
from nstjax.network.architecture import FLAVOURS
from nstjax.objective import Objective

CONTENT, STYLE, PICTURE = (smooth_picture(32, 40, seed=seed) for seed in range(3))
NETWORK = narrow_vgg19(flavour="caffe", precision="highest")
CONTENT_FEATURES, STYLE_FEATURES, PICTURE_FEATURES = (
    features64(random_parameters(), FLAVOURS["caffe"], picture) for picture in (CONTENT, STYLE, PICTURE)
)
FIRST_CONVOLUTIONS = [f"block{i}_conv1" for i in range(1, 6)]


def gram(x):
    rows = x.reshape(-1, x.shape[-1])
    return rows.T @ rows / len(rows)


def evaluate(preset):
    """Return {term: value} at PICTURE, and the total."""
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
    layers = [FIRST_CONVOLUTIONS[block] for block in (0, 2, 4)]
    style = [np.mean((gram(PICTURE_FEATURES[n]) - gram(STYLE_FEATURES[n])) ** 2) for n in layers]
    content = np.mean((PICTURE_FEATURES["block5_conv2"] - CONTENT_FEATURES["block5_conv2"]) ** 2)
    return {"content": content, "style": np.mean(style)}, {"content": 10, "style": 1000}


def long_run():
    style = [
        np.mean((gram(PICTURE_FEATURES[n]) - gram(STYLE_FEATURES[n])) ** 2) / STYLE_FEATURES[n].shape[-1] ** 2
        for n in FIRST_CONVOLUTIONS
    ]
    content = np.sum((PICTURE_FEATURES["block5_conv2"] - CONTENT_FEATURES["block5_conv2"]) ** 2) / 2
    tv = sum(np.sum((255 * d) ** 2) for d in differences(PICTURE))
    return {"content": content, "style": np.mean(style), "tv": tv}, {"content": 1, "style": 1e4, "tv": 10}


def tutorial_literal():
    style = tutorial()[0]["style"]
    return {"content": style, "style": style}, {"content": 10, "style": 1000}


@pytest.mark.parametrize("reference", [tutorial, tutorial_literal, long_run])
def test_terms_and_weights_equal_the_sources(reference):
    expected, weights = reference()
    values, total = evaluate(reference.__name__.replace("_", "-"))
    assert load(reference.__name__.replace("_", "-")).config.loss_weights == weights
    assert set(values) == set(expected)
    for name, value in expected.items():
        # Squares of differences of similar float32 features: the relative error of 1e-6 is doubled and amplified.
        np.testing.assert_allclose(values[name], value, rtol=1e-4)
    np.testing.assert_allclose(total, sum(weights[name] * value for name, value in expected.items()), rtol=1e-4)


def test_the_total_of_the_tutorials_listing_is_1010_times_the_style_cost():
    values, total = evaluate("tutorial-literal")
    np.testing.assert_allclose(total, 1010 * values["style"], rtol=1e-6)
    np.testing.assert_allclose(values["style"], evaluate("tutorial")[0]["style"], rtol=1e-6)
    terms = load("tutorial-literal").terms(load("tutorial-literal").config)
    assert {term.target for term in terms} == {"style"}  # the content enters only through the start


def test_settings_equal_those_of_the_sources():
    run, tutorial, literal = (load(name).config for name in ("long-run", "tutorial", "tutorial-literal"))
    assert run.steps == 30_000 and run.snapshots == (3_000, 9_000, 17_000, 23_000, 30_000) and run.init == "content"
    assert tutorial.steps == 50 and tutorial.keep == "best" and tutorial.log_every == 1
    np.testing.assert_allclose(tutorial.learning_rate * 255, 0.7)
    assert tutorial.snapshots == tuple(range(41, 51)) and literal.snapshots == tuple(range(40, 50))
    assert literal.keep == "after-best"


# Written by hand from each source. Rates and standard deviations on the 0-255 scale are divided by 255, Adam's epsilon
# is multiplied by 255, the rate of gradient descent divided by 255 squared.
SOURCES = {
    "neural-style": {
        "every_size": (512,), "size_by": "long", "enlarge": True, "init": "mean", "init_deviation": 3.9215686e-06,
        "optimiser": "lbfgs", "line_search": False, "step_length": 1.0, "first_step": 3.9215686e-3, "memory": 100,
        "total_steps": 999, "snapshot_every": 100, "pooling": None, "keep": "last", "resampling": "area",
    },
    "neural-style-pt": {
        "every_size": (512,), "size_by": "long", "enlarge": True, "init": "mean", "init_deviation": 3.9215686e-06,
        "optimiser": "lbfgs", "line_search": False, "step_length": 1.0, "first_step": 3.9215686e-3, "memory": 100,
        "total_steps": 999, "snapshot_every": 100, "pooling": None, "keep": "last", "resampling": "bilinear",
    },
    "gatys-pytorch": {
        "every_size": (512, 800), "size_by": "short", "stage_ends": (520, 740), "enlarge": True, "init": "content",
        "optimiser": "lbfgs", "line_search": False, "step_length": 1.0, "first_step": 3.9215686e-3, "memory": 100,
        "total_steps": 740, "pooling": None, "keep": "last", "resampling": "bilinear", "smaller_from": "original",
        "clip_sizes": True,
    },
    "gatys-controls": {
        "every_size": (512, 1024), "size_by": "area", "stage_ends": (499, 698), "enlarge": False, "init": "content",
        "optimiser": "lbfgs", "line_search": False, "step_length": 1.0, "first_step": 3.9215686e-3, "memory": 100,
        "total_steps": 698, "pooling": None, "keep": "last", "resampling": "gaussian", "smaller_from": "original",
        "clip_sizes": True,
    },
    "style-transfer-pytorch": {
        "every_size": (128, 181, 256, 362, 512), "size_by": "long", "stage_ends": (1000, 1500, 2000, 2500, 3000),
        "enlarge": True, "init": "content", "optimiser": "adam", "learning_rate": 0.02, "beta1": 0.9, "beta2": 0.99,
        "epsilon": 1e-8, "clamp": True, "total_steps": 3000, "pooling": None, "padding": "edge", "keep": "average",
        "average_decay": 0.99, "schedule": "constant", "resampling": "bicubic", "smaller_from": "original",
        "early_epsilon": False,
    },
    "pystiche": {
        "every_size": (500,), "size_by": "short", "enlarge": True, "init": "content", "optimiser": "lbfgs",
        "line_search": False, "step_length": 1.0, "first_step": 1.0, "memory": 100, "total_steps": 500, "pooling": None,
        "keep": "last", "resampling": "bilinear",
    },
    "neural-style-tf": {
        "every_size": (512,), "size_by": "long", "enlarge": False, "init": "content", "optimiser": "lbfgs",
        "line_search": True, "memory": 10, "total_steps": 1000, "pooling": "average", "keep": "last",
        "resampling": "area",
    },
    "anishathalye": {
        "every_size": (None,), "size_by": "width", "init": "mean", "init_deviation": 0.0010039216, "optimiser": "adam",
        "learning_rate": 0.039215686, "beta1": 0.9, "beta2": 0.999, "epsilon": 2.55e-6, "total_steps": 1000,
        "clamp": False, "pooling": None, "keep": "last", "schedule": "constant", "resampling": "bicubic",
        "early_epsilon": True,
    },
    "tensorflow-tutorial": {
        "every_size": (512,), "size_by": "long", "enlarge": True, "init": "content", "optimiser": "adam",
        "learning_rate": 0.02, "beta1": 0.99, "beta2": 0.999, "epsilon": 0.1, "total_steps": 1000, "clamp": True,
        "pooling": None, "keep": "last", "schedule": "constant", "resampling": "bilinear-aliased",
        "early_epsilon": True,
    },
    "pytorch-tutorial": {
        "every_size": (512,), "size_by": "short", "enlarge": True, "init": "content", "optimiser": "lbfgs",
        "line_search": False, "step_length": 1.0, "first_step": 1.0, "memory": 100, "total_steps": 320, "clamp": False,
        "pooling": None, "keep": "last", "resampling": "bilinear",
    },
    "keras-example": {
        "every_size": (400,), "size_by": "height", "enlarge": True, "init": "content", "optimiser": "sgd",
        "learning_rate": 0.0015378701, "momentum": 0.0, "schedule": "exponential", "schedule_rate": 0.96,
        "schedule_steps": 100, "total_steps": 4000, "snapshot_every": 100, "clamp": False, "pooling": None,
        "keep": "last", "resampling": "nearest",
    },
    "li-wand": {
        "every_size": (96, 192, 384), "size_by": "long", "stage_ends": (100, 200, 300), "enlarge": True,
        "init": "content", "optimiser": "lbfgs", "line_search": False, "step_length": 1.0,
        "first_step": 3.9215686e-3, "memory": 100, "total_steps": 300, "pooling": None, "keep": "last",
        "resampling": "bilinear", "smaller_from": "largest", "clip_sizes": False,
    },
    "sliced-wasserstein": {
        "every_size": (None,), "init": "style-mean", "init_deviation": 0.01, "optimiser": "lbfgs", "line_search": False,
        "step_length": 1.0, "first_step": 1.0, "memory": 100, "total_steps": 4096, "pooling": "average",
        "padding": "reflect", "clamp": False, "keep": "last",
    },
    "strotss": {
        "every_size": (64, 128, 256, 512), "size_by": "long", "stage_ends": (249, 498, 747, 996), "enlarge": True,
        "init": "style-mean", "content_details": True, "parameterisation": "laplacian", "optimiser": "rmsprop",
        "learning_rate": 0.002, "last_size_rate": 0.5, "restart_optimiser": True, "resampling": "bilinear-aliased",
        "beta2": 0.99, "epsilon": 1e-8, "momentum": 0.0, "pooling": None, "clamp": False, "keep": "last",
    },
    "nnst": {
        "every_size": (64, 128, 256, 512), "size_by": "long", "stage_ends": (199, 398, 597, 796, 995), "enlarge": True,
        "init": "content", "parameterisation": "laplacian", "optimiser": "adam", "learning_rate": 0.002, "beta1": 0.9,
        "resampling": "bilinear-aliased", "restart_optimiser": True,
        "beta2": 0.999, "epsilon": 1e-8, "pooling": None, "clamp": False, "keep": "last",
    },
}  # fmt: skip


@pytest.mark.parametrize("preset", SOURCES)
def test_settings_equal_those_of_other_systems(preset):
    config = load(preset).config
    for name, expected in SOURCES[preset].items():
        value = getattr(config, name)
        # The figures above have eight digits.
        same = value == pytest.approx(expected, rel=1e-7) if isinstance(expected, float) else value == expected
        assert same, f"{name} is {value}, not {expected}"


def test_every_preset_is_complete():
    without_a_system = {"default", "long-run", "tutorial", "tutorial-literal"}
    assert set(presets()) == without_a_system | set(SOURCES)
    for name in presets():
        experiment = load(name)
        assert name == "default" or f"    nstjax run CONTENT STYLE --preset {name}" in experiment.source
        assert "\nversion = " in experiment.source and isinstance(experiment.version, int)
        config = experiment.config
        weights = {**config.loss_weights, **config.finish_weights}
        assert {term.name for term in experiment.terms(config)} == set(weights)


def test_every_preset_has_settings_for_both_trained_flavours():
    for name in set(presets()) - {"default"}:
        experiment = load(name)
        assert {experiment.flavour, *experiment.flavours} >= {"caffe", "torchvision"}, name
        assert experiment.config_for(experiment.flavour) == experiment.config, name
    assert load("default").flavour is None  # its distances are relative
