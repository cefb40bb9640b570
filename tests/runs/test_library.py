"""The Python interface: stylize, its result, its inputs, and its messages about mistakes."""

import dataclasses

import jax
import numpy as np
import pytest
from conftest import random_weights, smooth_picture

import nstjax
from nstjax import images
from nstjax.callbacks import TIMES, Listener
from nstjax.errors import Diverged, UserError
from nstjax.experiment.config import Config
from nstjax.experiment.experiment import Experiment
from nstjax.experiment.inputs import prepare
from nstjax.network.weights import read, write
from nstjax.optimise import run_chunk

CONTENT, STYLE = smooth_picture(24, 32), smooth_picture(30, 26, seed=1)


def terms(config):
    return (
        nstjax.Term(
            "content",
            config.layers["content"],
            nstjax.per_layer(nstjax.statistics.feature_map),
            nstjax.layer_sum(nstjax.losses.variance_scaled),
            target="content",
        ),
        nstjax.Term(
            "style",
            config.layers["style"],
            nstjax.per_layer(nstjax.statistics.gram),
            nstjax.layer_sum(nstjax.losses.relative_squared),
            target="style",
        ),
    )


QUICK = Experiment(
    "quick",
    Config(
        layers={"content": ("relu2_1",), "style": ("relu1_1", "relu2_1")},
        loss_weights={"content": 1.0, "style": 1.0},
        steps=6,
    ),
    terms,
)


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "vgg.safetensors"
    write(path, random_weights("block2_conv1"))
    return str(path)


def test_stylize_takes_arrays_and_returns_a_result(weights, tmp_path):
    result = nstjax.stylize(CONTENT, STYLE, experiment=QUICK, weights=weights, log_every=1)
    assert result.picture.shape == CONTENT.shape and result.picture.dtype == np.float32
    assert result.picture.min() >= 0 and result.picture.max() <= 1
    assert result.steps == 6 and result.folder is None and result.alpha is None
    np.testing.assert_array_equal(result.metrics["step"], range(6))
    total = result.metrics["content"] + result.metrics["style"]
    np.testing.assert_allclose(result.metrics["total"], total, rtol=1e-5)  # added up in float32 on the device
    assert result.save(tmp_path / "out.jpg").exists()


def test_a_listener_is_told_everything_in_order(weights):
    events = []

    class Recorder(Listener):
        def compiling(self):
            events.append("compiling")

        def started(self, done, steps):
            events.append(f"started {done} {steps}")

        def logged(self, line):
            events.append(f"logged {line['step']}")

        def finished(self):
            events.append("finished")

    nstjax.stylize(CONTENT, STYLE, experiment=QUICK, weights=weights, log_every=4, listener=Recorder())
    assert events == ["compiling", "started 0 6", "logged 0", "logged 4", "logged 5", "finished"]


def test_a_run_goes_on_if_its_listener_cannot_print(weights, tmp_path):
    with open(tmp_path / "closed", "w") as closed:
        pass

    class Printer(Listener):
        def started(self, done, steps):
            print("a line into a closed file", file=closed)

        def advanced(self, step, losses):
            raise BrokenPipeError("Broken pipe")

        def finished(self):
            "\u2713".encode("ascii")

    with pytest.warns(UserWarning, match="the listener could not write its output .*: the run goes on") as warnings:
        result = nstjax.stylize(CONTENT, STYLE, experiment=QUICK, weights=weights, listener=Printer())
    assert result.steps == 6 and len({str(warning.message) for warning in warnings}) == 3


def test_settings_of_jax_do_not_reach_a_run(weights):
    expected = nstjax.stylize(CONTENT, STYLE, experiment=QUICK, weights=weights)
    with (
        jax.enable_x64(True),
        jax.numpy_dtype_promotion("strict"),
        jax.numpy_rank_promotion("raise"),
        jax.default_prng_impl("rbg"),
        jax.debug_nans(True),
        jax.debug_key_reuse(True),
        jax.disable_jit(True),
        jax.transfer_guard("disallow"),
    ):
        result = nstjax.stylize(CONTENT, STYLE, experiment=QUICK, weights=weights)
    np.testing.assert_array_equal(result.picture, expected.picture)
    for name, values in expected.metrics.items():
        if name not in TIMES:
            np.testing.assert_array_equal(result.metrics[name], values)


def test_a_mistake_in_a_listener_is_not_hidden(weights):
    class Wrong(Listener):
        def started(self, done, steps):
            raise ValueError("a mistake")

    with pytest.raises(ValueError, match="a mistake"):
        nstjax.stylize(CONTENT, STYLE, experiment=QUICK, weights=weights, listener=Wrong())


def test_a_listener_can_stop_a_run(weights):
    class StopAfterThree(Listener):
        steps = 0

        def advanced(self, step, losses):
            self.steps = step

        def wants_to_stop(self):
            return self.steps >= 3

    result = nstjax.stylize(
        CONTENT, STYLE, experiment=QUICK, weights=weights, snapshots=(3,), steps=50, listener=StopAfterThree()
    )  # a snapshot ends a chunk
    assert result.steps == 3


def test_a_second_run_with_other_weights_compiles_nothing(weights):
    run_chunk.clear_cache()
    with jax.log_compiles(False):
        for style_weight in (1.0, 50.0):
            nstjax.stylize(CONTENT, STYLE, experiment=QUICK, weights=weights, loss_weights={"style": style_weight})
    first = nstjax.stylize(CONTENT, STYLE, experiment=QUICK, weights=weights).record
    assert first["config"]["loss_weights"] == {"content": 1.0, "style": 1.0}


def test_without_weights_the_self_taught_network_is_used(tmp_path, quick_learning):
    """Without weights and without a connection, a warning says why and what to do."""
    warnings = []

    class Recorder(Listener):
        def warning(self, message):
            warnings.append(message)

    experiment = dataclasses.replace(QUICK, config=QUICK.config.replace(steps=2))
    result = nstjax.stylize(CONTENT, STYLE, experiment=experiment, out=tmp_path / "run", listener=Recorder())
    (warning,) = warnings
    assert "NSTJAX_OFFLINE" in warning and "learnt from the two pictures" in warning
    with pytest.warns(UserWarning, match="learnt from the two pictures"):
        nstjax.stylize(CONTENT, STYLE, experiment=experiment)
    kept = read(tmp_path / "run" / "inputs" / "weights.safetensors")
    assert result.record["weights"]["sha256"] == kept.sha256 and kept.flavour.name == "self-taught"
    # The file in the folder gives the same picture, to the bit.
    again = nstjax.stylize(
        CONTENT, STYLE, experiment=experiment, weights=str(tmp_path / "run" / "inputs" / "weights.safetensors")
    )
    np.testing.assert_array_equal(again.picture, result.picture)


def test_a_diverging_loss_raises(weights):
    with pytest.raises(Diverged, match=r"not finite at step \d"):
        nstjax.stylize(CONTENT, STYLE, experiment=QUICK, weights=weights, learning_rate=1e30)


def test_terms_and_weights_must_match(weights):
    missing = dataclasses.replace(QUICK, config=dataclasses.replace(QUICK.config, loss_weights={"content": 1.0}))
    with pytest.raises(UserError, match="term 'style' has no weight"):
        nstjax.stylize(CONTENT, STYLE, experiment=missing, weights=weights)
    more = {"content": 1.0, "style": 1.0, "stile": 1.0}
    surplus = dataclasses.replace(QUICK, config=dataclasses.replace(QUICK.config, loss_weights=more))
    with pytest.raises(UserError, match="no term 'stile' to weight"):
        nstjax.stylize(CONTENT, STYLE, experiment=surplus, weights=weights)


@pytest.mark.parametrize("value", [None, 3, nstjax.PictureTerm("tv", nstjax.losses.total_variation_mean_l1), ("tv",)])
def test_what_is_no_tuple_of_terms_is_refused(weights, value):
    experiment = dataclasses.replace(QUICK, terms=lambda config: value)
    with pytest.raises(UserError, match=r"lambda.*test_library.py, line \d+\) must return a tuple of nstjax.Term"):
        nstjax.stylize(CONTENT, STYLE, experiment=experiment, weights=weights)


def test_a_term_that_cannot_be_hashed_is_refused(weights):
    @dataclasses.dataclass
    class Mutable:
        power: float

        def __call__(self, x, t):
            return abs(x - t) ** self.power

    term = nstjax.style_term(("relu1_1",), nstjax.statistics.gram, Mutable(2.0))
    with pytest.raises(UserError, match=r"the term 'style' cannot be hashed .*Mutable.*: make .* frozen dataclasses"):
        nstjax.Objective((term,))


def test_pictures_are_resized_as_the_settings_say():
    config = Config(sizes=16, style_scale=0.5)
    inputs = prepare(CONTENT, STYLE, config)
    assert inputs.content.shape == (12, 16, 3) and inputs.style.shape == (8, 7, 3)
    assert prepare(CONTENT, STYLE, Config(sizes=64)).content.shape == CONTENT.shape
    assert prepare(CONTENT, STYLE, Config(sizes=64, enlarge=True)).content.shape == (48, 64, 3)
    assert prepare(CONTENT, STYLE, Config(sizes=None, style_size=15)).style.shape == (15, 13, 3)


def test_init_chooses_the_start():

    def make_start(init, seed=0):
        return prepare(CONTENT, STYLE, Config(init=init, seed=seed)).start

    np.testing.assert_array_equal(make_start("content"), CONTENT)
    assert not np.array_equal(make_start("noise"), make_start("noise", seed=1))
    np.testing.assert_array_equal(make_start("noise"), make_start("noise"))
    # 768 draws of a uniform variable: its mean is 0.5 with a deviation of 0.01.
    assert abs(make_start("noise").mean() - 0.5) < 0.04
    statistics = make_start("style-statistics").reshape(-1, 3)
    np.testing.assert_allclose(statistics.mean(0), STYLE.reshape(-1, 3).mean(0), atol=0.05)
    spread = STYLE.reshape(-1, 3).std(0)
    np.testing.assert_allclose(statistics.std(0), spread, rtol=0.15)  # 768 draws, and clipping takes a little


def test_matched_colours_are_used_for_target_and_start():
    inputs = prepare(CONTENT, STYLE, Config(match_colour="content"))
    np.testing.assert_array_equal(inputs.content, images.match_colour(CONTENT, STYLE))
    np.testing.assert_array_equal(inputs.start, inputs.content)


def test_load_vgg19_reads_a_shallow_file(weights):
    vgg = nstjax.load_vgg19(weights, pooling="average")
    assert vgg.pooling == "average" and vgg.flavour.name == "torchvision"
    assert vgg.features(CONTENT, ["relu2_1"])["relu2_1"].shape == (12, 16, 128)
    with pytest.raises(UserError, match="block2_conv1"):
        vgg.features(CONTENT, ["relu3_1"])
    with pytest.raises(UserError, match="NSTJAX_OFFLINE"):
        nstjax.load_vgg19()
