"""Presets of other systems against those systems' own formulas, in float64: see ``references/gram_family.py``."""

import dataclasses
import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from references import given

from nstjax.experiment.experiment import load
from nstjax.losses import LayerSum
from nstjax.network.architecture import FLAVOURS
from nstjax.network.vgg import VGG
from nstjax.objective import Objective

GOLDENS = dict(np.load(Path(__file__).parents[1] / "references" / "gram_family.npz"))

FLAVOUR = {
    "anishathalye": "caffe",
    "gatys-controls": "caffe",
    "gatys-pytorch": "caffe",
    "keras-example": "caffe",
    "neural-style": "caffe",
    "neural-style-pt": "caffe",
    "neural-style-tf": "caffe",
    "pystiche": "torchvision",
    "pytorch-tutorial": "torchvision",
    "style-transfer-pytorch": "torchvision",
    "tensorflow-tutorial": "caffe",
}
"""{preset: the flavour of weights that it is meant for}."""

every_preset = pytest.mark.parametrize("preset", FLAVOUR)


def reference(preset):
    """{what: array} of one system."""
    name = preset.replace("-", "_") + "/"
    return {key.removeprefix(name): value for key, value in GOLDENS.items() if key.startswith(name)}


def setting(preset, dtype):
    """The experiment, its objective, its network, and the picture, the content and the style."""
    experiment, known = load(preset), reference(preset)
    config = experiment.config
    arrays = given.pictures(style_of_one_size=bool(known["style_of_one_size"]))
    options = {"pooling": config.pooling, "padding": config.padding, "precision": "highest", "dtype": dtype}
    network = VGG(given.parameters(), FLAVOURS[FLAVOUR[preset]], **options)
    return experiment, Objective(tuple(experiment.terms(config))), network, [jnp.asarray(it, dtype) for it in arrays]


def evaluate(preset, *, dtype="float64", loss_weights=None):
    """The same of a preset: {"terms", "weights", "values", "gradient", "norms", "slopes"}."""
    with jax.enable_x64(dtype == "float64"):
        experiment, objective, network, (picture, content, style) = setting(preset, dtype)
        weights = loss_weights or experiment.config.loss_weights
        targets = objective.targets(network, content=content, style=style)

        def losses(x):
            total, parts = objective(x, network=network, targets=targets, weights=weights)
            return jnp.stack([total, *(weights[name] * parts[name] for name in objective.names)]), parts

        losses, pull, parts = jax.vjp(losses, picture, has_aux=True)
        gradient, *of_terms = (np.asarray(pull(row)[0]) for row in jnp.eye(len(losses), dtype=dtype))
    of_terms = np.array(of_terms, np.float64)
    return {
        "terms": [*objective.names],
        "weights": [weights[name] for name in objective.names],
        "values": np.array([parts[name] for name in objective.names], np.float64),
        "gradient": gradient,
        "norms": np.linalg.norm(of_terms.reshape(len(of_terms), -1), axis=1),
        "slopes": np.einsum("thwc,dhwc->td", of_terms, given.directions(picture.shape)),
    }


def disagreements(found, preset, *, tolerance):
    """What of a preset is not the source's, in words; slopes and gradients relative to the norm of the gradient."""
    known, wrong = reference(preset), []
    if [*found["terms"]] != [*known["terms"]]:
        return [f"terms {found['terms']}, not {[*known['terms']]}"]
    if [*found["weights"]] != [*known["weights"]]:
        wrong.append(f"weights {found['weights']}, not {[*known['weights']]}")
    scale = {"values": known["values"], "norms": known["norms"], "slopes": known["norms"][:, None]}
    for what, unit in scale.items():
        off = np.abs(found[what] - known[what]) / unit
        wrong += [
            f"{what} of {term} off by {it.max():.1e}"
            for term, it in zip(found["terms"], off, strict=True)
            if not it.max() <= tolerance
        ]
    off = np.linalg.norm(found["gradient"] - known["gradient"]) / np.linalg.norm(known["gradient"])
    return wrong + ([f"gradient off by {off:.1e}"] if not off <= tolerance else [])


@every_preset
def test_terms_weights_and_gradients_are_the_sources(preset):
    found = evaluate(preset)
    assert found["gradient"].dtype == np.float64
    assert all(found["values"] > 0) and all(found["norms"] > 0)
    # Both are float64; what is left is the order of additions, and Gatys' mean colour, given to eight digits.
    assert disagreements(found, preset, tolerance=1e-7) == []


@every_preset
def test_so_they_are_in_float32_but_for_rounding(preset):
    found = evaluate(preset, dtype="float32")
    assert found["gradient"].dtype == np.float32
    # 2e-6 at most is what was seen; other processors add up in other orders.
    assert disagreements(found, preset, tolerance=2e-5) == []


def test_another_weight_of_a_term_would_be_seen():
    weights = load("neural-style-pt").config.loss_weights
    for name in weights:
        found = evaluate("neural-style-pt", loss_weights={**weights, name: 1.0001 * weights[name]})
        wrong = " ".join(disagreements(found, "neural-style-pt", tolerance=1e-5))
        assert "weights" in wrong and f"norms of {name}" in wrong and f"slopes of {name}" in wrong


@every_preset
def test_another_weight_of_a_layer_would_be_seen(preset):
    """Each layer counts for enough: a hundredth more of its weight changes the value by more than rounding."""
    with jax.enable_x64(True):
        _, objective, network, (picture, content, style) = setting(preset, "float64")
        (term,) = (it for it in objective.terms if it.name == "style")
        targets = objective.targets(network, content=content, style=style)
        x = term.statistic(network.features(picture, term.layers))
        assert isinstance(term.distance, LayerSum) and set(x) == set(term.layers) - {"input"}
        present = dict(term.distance.weights or dict.fromkeys(x, 1.0))
        value = term.distance(x, targets["style"])
        for layer in x:
            other = {**present, layer: 1.01 * present[layer]}
            changed = dataclasses.replace(term.distance, weights=tuple(other.items()))(x, targets["style"])
            assert abs(changed / value - 1) > 1e-5, f"{layer} counts for nothing"


def test_the_reference_makes_these_goldens():
    if importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed: the goldens are taken as they are")
    from references import gram_family

    gram_family.check()
    made = gram_family.goldens()
    assert set(made) == set(GOLDENS)
    for name, value in made.items():
        if value.dtype.kind in "US":
            assert value.tolist() == GOLDENS[name].tolist()
        else:
            # The order in which another build of PyTorch adds up.
            np.testing.assert_allclose(value, GOLDENS[name], rtol=1e-9, atol=1e-9 * np.abs(value).max(), err_msg=name)
