"""Runs of the presets compared with the whole procedures of their sources, step by step, on a narrow random network.

Start, resized pictures, optimiser, clipping and the change from size to size all have to be the source's: see
``references/program_curves.py``, and ``experiments/comparison/compare_programs.py`` for real weights.
"""

import importlib.util

import numpy as np
import pytest
from references.program_curves import CASES, CURVES, compute_curves, make_narrow_weights, make_pictures

from nstjax.callbacks import Listener
from nstjax.experiment.experiment import load
from nstjax.network.weights import write
from nstjax.runs.stylize import stylize


@pytest.fixture(scope="module")
def narrow_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("narrow") / "narrow.safetensors"
    write(file, make_narrow_weights())
    return str(file)


def run_preset(preset, curves, file):
    """Return the losses of a preset on the pictures of its case, and the (steps of each size)."""
    case = CASES[preset]
    steps = tuple(steps - case.sees_last for steps in case.steps)
    experiment = load(preset)
    sizes = {"sizes": case.sizes, "steps": steps}
    start = curves.get(f"{preset}/start")
    if start is not None:
        sizes |= {"init": start, "init_deviation": 0.0}
    settings = {**sizes, **(case.settings or {}), "weights": file, "log_every": 1}
    settings |= {"snapshots": (), "snapshot_every": None}
    # Those of the caffe flavour, whatever others there may be.
    settings |= {"loss_weights": case.loss_weights or dict(experiment.config.loss_weights)}
    result = stylize(*make_pictures(case), experiment=experiment, **settings, listener=Listener())
    return result.metrics["total"], steps


STRICT = {
    "style-transfer-pytorch": 5,
    "gatys-pytorch": 6,
    "tensorflow-tutorial": 2,
    "pytorch-tutorial": 6,
    "pystiche": 6,
    "li-wand": 7,
    "gatys-controls": 6,
    "nnst": 23,
}
"""Number of first steps whose losses agree, of the others 10: afterwards their optimisers amplify roundings.

Those of nnst, whose optimiser forgets roundings with each size, are all its steps.
"""

TOLERANCE = {"style-transfer-pytorch": 0.025, "gatys-pytorch": 0.015}
"""Relative difference of losses, of the others 0.002: the programs of these round small resized pictures to 8 bits."""


NEXT_SIZE = {"nnst": 0.002}
"""The same of the second size's first step, of the others 0.1: here both have gone the same way until then."""

DRAWS = ("sliced-wasserstein", "strotss")
"""The presets that draw numbers at every step, other ones than their sources do."""


def test_the_random_directions_of_sliced_wasserstein_cost_what_the_sources_do(narrow_file):
    curves = dict(np.load(CURVES))
    losses, _ = run_preset("sliced-wasserstein", curves, narrow_file)
    expected = curves["sliced-wasserstein"]
    # Each draws its own directions: the loss of the start is a mean over them, and the later ones jump.
    assert losses[0] == pytest.approx(expected[0], rel=0.1)
    assert np.median(losses[4:]) == pytest.approx(np.median(expected[4:]), rel=0.5)


def test_the_random_positions_of_strotss_cost_what_the_sources_do(narrow_file):
    curves = dict(np.load(CURVES))
    losses, steps = run_preset("strotss", curves, narrow_file)
    assert losses.shape == curves["strotss"].shape[1:] == (sum(steps),)
    mean = curves["strotss"].mean(axis=0)
    ratios, seeds = losses / mean, curves["strotss"] / mean
    # Each draws its own positions. No step is further off than two of the source's seeds are at their furthest, 9 %.
    assert ratios == pytest.approx(1, abs=np.ptp(seeds, axis=0).max())
    # Over all steps that averages out: within three standard deviations of one seed's mean from that of three, 2 %.
    assert ratios.mean() == pytest.approx(1, abs=3 * np.sqrt(1 + 1 / 3) * seeds.mean(axis=1).std(ddof=1))


@pytest.mark.parametrize("preset", [preset for preset in CASES if preset not in DRAWS])
def test_a_run_has_the_losses_of_its_source(preset, narrow_file):
    curves = dict(np.load(CURVES))
    (losses, steps), expected = run_preset(preset, curves, narrow_file), curves[preset]
    assert len(losses) == len(expected) == sum(steps)
    ratios = losses / expected
    strict = STRICT.get(preset, 10)
    assert ratios[:strict] == pytest.approx(1, rel=TOLERANCE.get(preset, 0.002))
    # The second size begins with a picture that has gone its own way since then.
    assert ratios[steps[0] : steps[0] + 1] == pytest.approx(1, rel=NEXT_SIZE.get(preset, 0.1))


def test_the_procedures_reproduce_the_curves():
    if importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed: the curves are not computed again")
    curves = compute_curves(make_narrow_weights().parameters)
    stored = dict(np.load(CURVES))
    assert set(curves) == set(stored)
    for name, curve in curves.items():
        # Another processor adds in another order, which L-BFGS amplifies.
        first = np.s_[..., :6] if not name.endswith("/start") else np.s_[:6]
        np.testing.assert_allclose(curve[first], stored[name][first], rtol=1e-3, err_msg=name)
