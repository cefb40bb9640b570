"""Presets of other systems compared with the systems' formulas, in float64: see ``references/gram_family.py``."""

import dataclasses
import functools
import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from references import inputs

from nstjax.experiment.experiment import load
from nstjax.losses import LayerSum
from nstjax.network.architecture import FLAVOURS
from nstjax.network.vgg import VGG
from nstjax.objective import Objective

GOLDENS = dict(np.load(Path(__file__).parents[1] / "references" / "gram_family.npz"))

PRESETS = [
    "anishathalye",
    "gatys-controls",
    "gatys-pytorch",
    "keras-example",
    "neural-style",
    "neural-style-pt",
    "neural-style-tf",
    "pystiche",
    "pytorch-tutorial",
    "style-transfer-pytorch",
    "tensorflow-tutorial",
]

every_preset = pytest.mark.parametrize("preset", PRESETS)


def read_reference(preset):
    """Return {name: array} of one system."""
    name = preset.replace("-", "_") + "/"
    return {key.removeprefix(name): value for key, value in GOLDENS.items() if key.startswith(name)}


def set_up(preset, dtype):
    """Return the experiment, its objective, its network, and [picture, content, style]."""
    experiment, expected = load(preset), read_reference(preset)
    config = experiment.config
    arrays = inputs.pictures(style_of_one_size=bool(expected["style_of_one_size"]))
    options = {"pooling": config.pooling, "padding": config.padding, "precision": "highest", "dtype": dtype}
    network = VGG(inputs.parameters(), FLAVOURS[experiment.flavour], **options)
    return (
        experiment,
        Objective(tuple(experiment.terms(config))),
        network,
        [jnp.asarray(array, dtype) for array in arrays],
    )


@functools.partial(jax.jit, static_argnames="objective")
def differentiate(network, targets, weights, picture, row, *, objective):
    """Return the gradient of a weighted sum of the total and of the weighted terms, and the values of the terms."""

    def weighted_sum(x):
        total, parts = objective(x, network=network, targets=targets, weights=weights)
        return row @ jnp.stack([total, *(weights[name] * parts[name] for name in objective.names)]), parts

    return jax.grad(weighted_sum, has_aux=True)(picture)


def evaluate(preset, *, dtype="float64", loss_weights=None):
    """Return the entries of a reference, computed from the preset: "terms", "weights", "values", "gradient", …."""
    with jax.enable_x64(dtype == "float64"):
        experiment, objective, network, (picture, content, style) = set_up(preset, dtype)
        weights = loss_weights or experiment.config.loss_weights
        targets = jax.jit(objective.targets)(network, content=content, style=style)

        arguments = network, targets, {name: jnp.asarray(weight, dtype) for name, weight in weights.items()}, picture
        rows = jnp.eye(len(objective.names) + 1, dtype=dtype)
        results = [differentiate(*arguments, row, objective=objective) for row in rows]
    parts = results[0][1]
    gradient, *term_gradients = (np.asarray(gradient) for gradient, _ in results)
    term_gradients = np.array(term_gradients, np.float64)
    return {
        "terms": [*objective.names],
        "weights": [weights[name] for name in objective.names],
        "values": np.array([parts[name] for name in objective.names], np.float64),
        "gradient": gradient,
        "norms": np.linalg.norm(term_gradients.reshape(len(term_gradients), -1), axis=1),
        "slopes": np.einsum("thwc,dhwc->td", term_gradients, inputs.directions(picture.shape)),
    }


def list_differences(result, preset, *, tolerance):
    """List the differences of a preset from its source; slopes and gradients relative to the norm of the gradient."""
    expected, lines = read_reference(preset), []
    if [*result["terms"]] != [*expected["terms"]]:
        return [f"terms {result['terms']}, not {[*expected['terms']]}"]
    if [*result["weights"]] != [*expected["weights"]]:
        lines.append(f"weights {result['weights']}, not {[*expected['weights']]}")
    scales = {"values": expected["values"], "norms": expected["norms"], "slopes": expected["norms"][:, None]}
    for name, scale in scales.items():
        errors = np.abs(result[name] - expected[name]) / scale
        lines += [
            f"{name} of {term} off by {error.max():.1e}"
            for term, error in zip(result["terms"], errors, strict=True)
            if not error.max() <= tolerance
        ]
    error = np.linalg.norm(result["gradient"] - expected["gradient"]) / np.linalg.norm(expected["gradient"])
    return lines + ([f"gradient off by {error:.1e}"] if not error <= tolerance else [])


@every_preset
def test_terms_weights_and_gradients_equal_the_sources(preset):
    result = evaluate(preset)
    assert result["gradient"].dtype == np.float64
    assert all(result["values"] > 0) and all(result["norms"] > 0)
    # Both are float64; they differ by the order of additions, and by Gatys' mean colour, given to eight digits.
    assert list_differences(result, preset, tolerance=1e-7) == []


@pytest.mark.parametrize("preset", ["neural-style", "neural-style-tf", "style-transfer-pytorch"])  # each kind of loss
def test_terms_and_gradients_in_float32_equal_the_sources_up_to_rounding(preset):
    result = evaluate(preset, dtype="float32")
    assert result["gradient"].dtype == np.float32
    # At most 2e-6 was seen; other processors add in other orders.
    assert list_differences(result, preset, tolerance=2e-5) == []


def test_a_changed_weight_of_a_term_is_detected():
    weights = load("neural-style-pt").config.loss_weights
    for name in weights:
        result = evaluate("neural-style-pt", loss_weights={**weights, name: 1.0001 * weights[name]})
        differences = " ".join(list_differences(result, "neural-style-pt", tolerance=1e-5))
        assert "weights" in differences
        assert f"norms of {name}" in differences and f"slopes of {name}" in differences


@every_preset
def test_a_changed_weight_of_a_layer_is_detected(preset):
    """One percent more weight of any layer changes the value by more than the tolerance."""
    with jax.enable_x64(True):
        _, objective, network, (picture, content, style) = set_up(preset, "float64")
        (term,) = (term for term in objective.terms if term.name == "style")
        targets = jax.jit(objective.targets)(network, content=content, style=style)
        x = jax.jit(lambda network, x: term.statistic(network.features(x, term.layers)))(network, picture)
        assert isinstance(term.distance, LayerSum) and set(x) == set(term.layers) - {"input"}
        weights = dict(term.distance.weights or dict.fromkeys(x, 1.0))
        value = term.distance(x, targets["style"])
        for layer in x:
            other_weights = {**weights, layer: 1.01 * weights[layer]}
            changed = dataclasses.replace(term.distance, weights=tuple(other_weights.items()))(x, targets["style"])
            assert abs(changed / value - 1) > 1e-5, f"{layer} has no influence"


def test_the_reference_reproduces_the_golden_values():
    if importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed: the golden values are not recomputed")
    from references import gram_family

    gram_family.check_formulas()
    goldens = gram_family.compute_goldens()
    assert set(goldens) == set(GOLDENS)
    for name, value in goldens.items():
        if value.dtype.kind in "US":
            assert value.tolist() == GOLDENS[name].tolist()
        else:
            # Another build of PyTorch adds in another order.
            np.testing.assert_allclose(value, GOLDENS[name], rtol=1e-9, atol=1e-9 * np.abs(value).max(), err_msg=name)
