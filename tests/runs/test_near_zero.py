"""Runs that start next to their minimum, or that have nothing to do."""

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import random_weights, smooth_picture
from quick_run import StopAt

import nstjax
from nstjax.callbacks import Listener
from nstjax.errors import Diverged
from nstjax.experiment.config import Config
from nstjax.experiment.experiment import Experiment
from nstjax.network.weights import write
from nstjax.runs.stillness import Stillness

PICTURE, GREY = smooth_picture(16, 12), np.full((16, 12, 3), 0.5, np.float32)


def make_terms(config):
    return (
        nstjax.content_term(("relu1_1",), nstjax.layer_sum(nstjax.losses.variance_scaled)),
        nstjax.style_term(("relu1_1",), nstjax.statistics.gram, nstjax.layer_sum(nstjax.losses.relative_squared)),
    )


CONFIG = Config(layers={"content": ("relu1_1",)}, loss_weights={"content": 1.0, "style": 10.0}, log_every=1, steps=30)
EXPERIMENT = Experiment("narrow", CONFIG, make_terms)
CLOSE = 1e-5
"""Deviation of a start from its minimum: the loss is far above rounding, and a step multiplies it a millionfold.

At the minimum itself the loss is rounding error, or exactly 0, as the compiler likes.
"""


class Warnings(Listener):
    def __init__(self):
        self.messages, self.notices = [], []

    def notice(self, message):
        self.notices.append(message)

    def warning(self, message):
        self.messages.append(message)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "vgg.safetensors"
    write(path, random_weights("block1_conv1"))
    return str(path)


@pytest.mark.parametrize("deviation", [0.0, CLOSE])
@pytest.mark.parametrize("picture", [PICTURE, GREY, np.zeros_like(GREY)], ids=["smooth", "grey", "black"])
def test_one_picture_as_content_and_style_comes_back(weights, picture, deviation):
    options = {"experiment": EXPERIMENT, "weights": weights, "init_deviation": deviation}
    result = nstjax.stylize(picture, picture, **options, listener=Warnings())
    assert result.steps == 30 and not result.diverged
    first, *others = result.metrics["total"]
    assert first < 1e-7 and (deviation == 0 or 0 < 1000 * first < max(others))
    assert np.abs(result.picture - picture).max() < 0.1


def test_the_members_of_a_sweep_come_back_too(weights):
    vary = {"learning_rate": [0.02, 1000.0]}
    listener = Warnings()
    options = {"experiment": EXPERIMENT, "weights": weights, "init_deviation": CLOSE, "listener": listener}
    result = nstjax.sweep(PICTURE, PICTURE, vary=vary, **options)
    assert [member.diverged for member in result.members] == [False, True]
    (warning,) = listener.messages
    assert "more than 1000 times its lowest" in warning


def test_a_content_reconstruction_that_starts_close_by_ends_close_by(weights):
    experiment = EXPERIMENT.replace(loss_weights={"style": 0.0}, init_deviation=CLOSE)
    result = nstjax.stylize(PICTURE, GREY, experiment=experiment, weights=weights)
    assert not result.diverged and np.abs(result.picture - PICTURE).max() < 0.1


def test_a_rate_for_another_scale_diverges_next_to_the_minimum_too(weights):
    options = {"experiment": EXPERIMENT, "weights": weights, "init_deviation": CLOSE, "learning_rate": 100.0}
    with pytest.raises(Diverged, match=r"more than 1000 times its lowest, .*: try a lower learning rate"):
        nstjax.stylize(PICTURE, PICTURE, **options)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss_weights": {"content": 0.0, "style": 0.0}}, "the picture starts with a loss of exactly 0"),
        ({"learning_rate": 0.0}, "the picture has had exactly the same loss for 3 steps"),
    ],
)
def test_a_run_that_has_nothing_to_do_says_so_once(weights, settings, message):
    listener = Warnings()
    result = nstjax.stylize(
        PICTURE, GREY, experiment=EXPERIMENT, weights=weights, steps=3, listener=listener, **settings
    )
    assert result.steps == 3
    (warning,) = listener.messages
    assert warning.startswith(message) and warning.endswith("check the loss weights and the learning rate")


def test_a_picture_is_reported_after_a_hundred_steps_of_the_same_loss():
    listener = Warnings()
    stillness = Stillness(CONFIG.replace(steps=1000), 2, listener)
    for step in range(0, 200, 10):
        losses = np.full((2, 12), np.nan)
        losses[0, :10], losses[1, :10] = step + np.arange(1, 11), 1
        stillness.check(np.array([step, step]), np.array([10, 10]), losses)
        assert len(listener.messages) == (step + 10 >= 100)
    assert listener.messages[0].startswith("the picture of 1 of 2 members has had exactly the same loss")


def test_a_run_of_one_step_is_not_reported():
    listener = Warnings()
    Stillness(CONFIG.replace(steps=1), 1, listener).check(np.array([0]), np.array([1]), np.ones((1, 10)))
    assert not listener.messages


def test_a_loss_that_changes_once_is_counted_anew():
    listener = Warnings()
    stillness = Stillness(CONFIG.replace(steps=1000), 1, listener)
    for step in range(0, 150, 50):
        losses = np.ones((1, 50))
        losses[0, 30] += step == 50
        stillness.check(np.array([step]), np.array([50]), losses)
    assert not listener.messages  # 80 steps, one, 69 steps


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda p: jnp.mean(p - 0.5) / 0.0, "the term 'tv' is not finite at step 0"),
        (lambda p: jnp.sum(jnp.sqrt(p - p)), "the gradient of the term 'tv' is not finite at step 0"),
    ],
)
def test_a_start_that_is_not_finite_names_the_term(weights, loss, message):
    terms = (nstjax.PictureTerm("tv", loss), nstjax.PictureTerm("range", nstjax.losses.value_range))
    config = Config(loss_weights={"tv": 1.0, "range": 1.0}, steps=2)
    with pytest.raises(Diverged, match=f"^{message} .*: the start itself fails: check the terms"):
        nstjax.stylize(PICTURE, GREY, experiment=Experiment("tv", config, lambda _: terms), weights=weights)


@pytest.mark.parametrize(
    ("settings", "said"), [({}, False), ({"seed": 1}, True), ({"seed": 1, "init_noise": 0.1}, False)]
)
def test_a_seed_that_was_asked_for_and_has_no_effect_is_said(weights, settings, said):
    listener = Warnings()
    nstjax.stylize(PICTURE, GREY, experiment=EXPERIMENT, weights=weights, steps=1, listener=listener, **settings)
    assert any("the seed has no effect" in notice for notice in listener.notices) is said


def test_members_that_differ_in_the_seed_alone_say_so_and_the_losses_shown_are_means(weights):
    listener = Warnings()
    options = {"experiment": EXPERIMENT, "weights": weights, "steps": 1, "listener": listener}
    nstjax.sweep(PICTURE, GREY, vary={"seed": np.arange(2)}, **options)
    assert any("the seed has no effect" in notice for notice in listener.notices)
    assert "the losses shown are means over 2 members" in listener.notices


def test_a_run_next_to_its_minimum_resumes_to_the_byte(weights, tmp_path):
    options = {"experiment": EXPERIMENT, "weights": weights, "steps": 6, "init_deviation": CLOSE}
    whole = nstjax.stylize(PICTURE, PICTURE, **options)
    stop = StopAt(3)
    part = nstjax.stylize(PICTURE, PICTURE, **options, snapshots=3, out=tmp_path / "run", listener=stop)
    assert part.steps == 3
    resumed = nstjax.resume(tmp_path / "run", experiment=EXPERIMENT)
    np.testing.assert_array_equal(resumed.picture, whole.picture)
    np.testing.assert_array_equal(resumed.metrics["total"], whole.metrics["total"])


def test_a_member_that_fails_at_the_start_leaves_the_others_alone(weights):
    """Its step is tried again, since its loss might only be large beside the lowest one; so it has no line at first."""
    listener = Warnings()
    options = {"experiment": EXPERIMENT, "weights": weights, "steps": 3, "listener": listener}
    result = nstjax.sweep(PICTURE, GREY, vary={"style": [10.0, 3e38]}, **options)
    assert [member.diverged for member in result.members] == [False, True]
    assert [member.steps for member in result.members] == [3, 0]
    assert "not finite at step 0" in listener.messages[0]
