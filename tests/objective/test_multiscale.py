"""Coarse to fine: what is carried from size to size, and that such a run resumes to the byte."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import smooth_picture
from quick_run import EXPERIMENT, StopAt, losses

import nstjax
from nstjax import images
from nstjax import losses as every_loss
from nstjax.cli import main
from nstjax.errors import UserError
from nstjax.experiment.config import Config
from nstjax.multiscale import carried
from nstjax.objective import Objective
from nstjax.optimise import Method, Problem, current_picture, init, picture, run_chunk
from nstjax.optimisers import adam, lbfgs, rmsprop, sgd
from nstjax.parameterisation import Fourier, LaplacianPyramid, Pixels
from nstjax.types import PictureTerm

SMALL, LARGE = (12, 15), (17, 21)
PYRAMID = {"sizes": (20, 32), "size_steps": (5, 4)}


def parameterisation(kind, shape):
    return Pixels() if kind is Pixels else kind(*shape)


def methods(optimiser, kind=Pixels, **settings):
    objective = Objective((PictureTerm("tv", every_loss.total_variation_squared),))
    return [Method(objective, optimiser, parameterisation(kind, shape), **settings) for shape in (SMALL, LARGE)]


def after_steps(method, steps=3):
    start = init(method, jnp.asarray(smooth_picture(*SMALL)), learning_rate=0.01, key=jax.random.key(1))
    return run_chunk(start, Problem(None, {}, {"tv": 1.0}), steps, method=method)[0]


@pytest.mark.parametrize("kind", [Pixels, Fourier, LaplacianPyramid])
def test_picture_moments_and_counts_are_carried(kind):
    small, large = methods(adam(), kind)
    state = after_steps(small)
    following = carried(state, LARGE, before=small, after=large)
    expected = jax.image.resize(small.parameterisation.decode(state.parameters), (*LARGE, 3), "cubic")
    # Fourier's and the pyramid's round trips, in float32.
    np.testing.assert_allclose(large.parameterisation.decode(following.parameters), expected, atol=1e-5)
    assert int(following.step) == 3 and np.isinf(following.lowest) and not following.failed
    inner = following.optimiser.inner_state[0]
    assert int(inner.count) == int(following.optimiser.count) == 3
    assert optax.tree.get(following.optimiser, "learning_rate") == jnp.float32(0.01)
    like = jax.tree.map(jnp.shape, following.parameters)
    assert jax.tree.map(jnp.shape, inner.mu) == jax.tree.map(jnp.shape, inner.nu) == like
    assert all((leaf >= 0).all() for leaf in jax.tree.leaves(inner.nu))
    if kind is Pixels:
        old = state.optimiser.inner_state[0]
        np.testing.assert_allclose(inner.mu, jax.image.resize(old.mu, (*LARGE, 3), "cubic"), atol=1e-7)
        np.testing.assert_allclose(inner.nu, jax.image.resize(old.nu, (*LARGE, 3), "linear"), atol=1e-9)


def test_moments_that_interpolation_would_make_negative_are_clamped():
    small, large = methods(adam())
    state = after_steps(small)
    spike = jnp.zeros((*SMALL, 3)).at[6, 7].set(1.0)
    state = dataclasses.replace(state, optimiser=optax.tree.set(state.optimiser, nu=-spike))
    assert (optax.tree.get(carried(state, LARGE, before=small, after=large).optimiser, "nu") >= 0).all()


def test_what_other_optimisers_remember():
    for optimiser, name in ((rmsprop(momentum=0.5), "trace"), (sgd(momentum=0.5), "trace"), (rmsprop(), "nu")):
        small, large = methods(optimiser)
        state = after_steps(small)
        following = carried(state, LARGE, before=small, after=large)
        moment = optax.tree.get(following.optimiser, name)
        assert moment.shape == (*LARGE, 3)
        old = optax.tree.get(state.optimiser, name)
        np.testing.assert_allclose(jnp.abs(moment).mean(), jnp.abs(old).mean(), rtol=0.5)  # the same, resampled
    small, large = methods(lbfgs())
    following = carried(after_steps(small), LARGE, before=small, after=large)
    assert int(optax.tree.get(following.optimiser, "count")) == 0


def test_the_average_goes_on_from_itself():
    small, large = methods(adam(), keep="average", average_decay=0.5)
    state = after_steps(small)
    following = carried(state, LARGE, before=small, after=large)
    expected = jax.image.resize(state.kept.value, (*LARGE, 3), "cubic")
    np.testing.assert_allclose(following.parameters, expected, atol=1e-6)
    np.testing.assert_allclose(picture(following, method=large), np.clip(expected, 0, 1), atol=1e-6)


def test_a_run_that_has_diverged_keeps_its_picture():
    small, large = methods(adam())
    state = dataclasses.replace(after_steps(small), failed=jnp.bool_(True))
    following = carried(state, LARGE, before=small, after=large)
    expected = np.clip(jax.image.resize(state.previous, (*LARGE, 3), "cubic"), 0, 1)
    assert following.failed
    np.testing.assert_allclose(picture(following, method=large), expected, atol=1e-6)


def test_the_state_that_is_carried_can_be_donated():
    small, large = methods(adam(), keep="best")
    following = jax.jit(lambda it: carried(it, LARGE, before=small, after=large))(after_steps(small))
    state, metrics = run_chunk(following, Problem(None, {}, {"tv": 1.0}), 2, method=large)
    assert int(state.step) == 5 and current_picture(state, method=large).shape == (*LARGE, 3)
    assert metrics["total"][1] < metrics["total"][0]


# The settings.


@pytest.mark.parametrize(
    ("settings", "sizes", "ends"),
    [
        ({"size": 512, "smallest_size": 128, "size_steps": (1000, 500)}, (128, 181, 256, 362, 512), 3000),
        ({"size": 500, "smallest_size": 500, "steps": 7}, (500,), 7),
        ({"sizes": (512, 1024), "size_steps": (500, 200)}, (512, 1024), 700),
        ({"size": 100, "smallest_size": 30, "size_ratio": 2, "steps": 5}, (50, 100), 5),
        ({"size": 64, "size_steps": (9,)}, (64,), 9),
    ],
)
def test_sizes_and_their_steps(settings, sizes, ends):
    config = Config(**settings)
    assert config.every_size == sizes and config.size_ends[-1] == config.steps == ends


def test_other_sizes_and_steps_by_name():
    config = Config(sizes=(512, 1024), size_steps=(500, 200))
    assert config.replace(size=300).every_size == (150, 300)
    assert config.replace(steps=10).size_ends == (5, 10)
    assert config.replace(size=None).every_size == (None,)
    assert config.replace(size=None).steps == 500
    # One way to name the sizes takes the place of the other, and sizes that are gone take their steps along.
    assert config.replace(smallest_size=400, size_ratio=2).every_size == (512, 1024)
    assert config.replace(smallest_size=400, size_steps=(9, 8, 7)).size_ends == (9, 17, 24)
    assert config.replace(smallest_size=20, size=40, size_ratio=2).every_size == (20, 40)
    assert config.replace(sizes=(300,)).size_ends == (500,)
    ways = Config(size=512, smallest_size=128, size_steps=(1000, 500))
    assert ways.replace(sizes=(64, 96)).every_size == (64, 96)
    assert ways.replace(size=100).size_ends == (1000,)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"sizes": (64, 32)}, "coarse to fine"),
        ({"sizes": (32, 64), "smallest_size": 32}, "either sizes or smallest-size"),
        ({"smallest_size": 600}, "needs a size that is no smaller"),
        ({"size": None, "smallest_size": 64}, "needs a size"),
        ({"sizes": (32, 64), "size_steps": (1, 2, 3)}, "steps of 3 sizes, and there are 2"),
        ({"sizes": (32, 64), "shard_picture": True}, "takes one size"),
        ({"sizes": (0, 64)}, "sizes must be at least 1"),
        ({"sizes": (0.5, 64)}, "sizes must be a whole number"),
        ({"size_steps": (10**20,)}, "steps must be at most 2,147,483,647"),
        ({"loss_weights": {"style": 1e40}}, r"must be a finite number, not 1e\+40"),
    ],
)
def test_sizes_that_make_no_sense(settings, line):
    with pytest.raises(UserError, match=line):
        Config(**settings)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"steps": 5, "size_steps": (2, 3)}, "either steps, in all, or size-steps"),
        ({"size": 64, "sizes": (32, 64)}, "either size, or sizes"),
    ],
)
def test_what_cannot_both_be_given(changes, line):
    with pytest.raises(UserError, match=line):
        Config().replace(**changes)


def test_a_first_size_too_small_for_the_layers_is_refused(place):
    with pytest.raises(UserError, match=r"too small for layer relu2_1"):
        nstjax.stylize("content.png", "style.png", experiment="quick.py", sizes=(1, 32))


# Whole runs.


def run(out, *, experiment="quick.py", **settings):
    return nstjax.stylize(
        "content.png", "style.png", experiment=experiment, weights="vgg.safetensors", out=out, **settings
    )


def test_each_size_goes_on_from_the_one_before(place):
    pieces = {"snapshots": (5, 9), "log_every": 1, **PYRAMID}
    result = run("whole", **pieces)
    assert result.picture.shape == (24, 32, 3) and result.steps == 9
    assert images.read("whole/snapshots/000005.png").rgb.shape == (15, 20, 3)
    assert images.read("whole/snapshots/000009.png").rgb.shape == (24, 32, 3)
    coarse = nstjax.stylize(
        "content.png", "style.png", experiment="quick.py", weights="vgg.safetensors", size=20, steps=5
    )
    carried_over = images.resample(coarse.picture, 24, 32)
    # Four steps of Adam at 0.02 move no pixel further than 0.08 or so from what was carried over; Lanczos is not cubic.
    assert np.abs(result.picture - carried_over).max() < 0.2


@pytest.mark.parametrize("settings", [{}, {"parameterisation": "fourier", "keep": "average"}, {"keep": "best"}])
@pytest.mark.parametrize("stop", [3, 5, 7])
def test_stopped_within_any_size_it_ends_in_the_same_bytes(place, stop, settings):
    pieces = {"snapshot_every": 2, "log_every": 1, **PYRAMID, **settings}
    whole = run("whole", **pieces)
    stopped = nstjax.stylize(
        "content.png",
        "style.png",
        experiment="quick.py",
        weights="vgg.safetensors",
        out="cut",
        listener=StopAt(stop),
        **pieces,
    )
    assert stopped.steps < 9
    again = nstjax.resume("cut")
    np.testing.assert_array_equal(whole.picture, again.picture)
    assert losses("whole") == losses("cut")
    for name in ("000004.png", "000008.png"):
        assert Path("whole/snapshots", name).read_bytes() == Path("cut/snapshots", name).read_bytes()


def test_sizes_beyond_the_picture_are_left_out_and_said(place):
    warnings = []

    class Heard(StopAt):
        def warning(self, line):
            warnings.append(line)

    beyond = {"sizes": (20, 40, 64, 80), "size_steps": (2, 3, 4, 5)}
    result = nstjax.stylize(
        "content.png", "style.png", experiment="quick.py", weights="vgg.safetensors", listener=Heard(99), **beyond
    )
    assert result.picture.shape == (30, 40, 3) and result.steps == 2 + 3
    assert len(warnings) == 1 and "has 40x30 pixels: of 4 sizes 2 differ" in warnings[0]
    assert result.record["config"]["sizes"] == [20, 40]


def test_what_comes_on_top_is_made_at_the_last_size(place):
    run("short", **PYRAMID)
    longer = nstjax.resume("short", steps=12)
    np.testing.assert_array_equal(longer.picture, run("long", **{**PYRAMID, "size_steps": (5, 7)}).picture)
    assert json.loads(Path("short/config.json").read_text())["config"]["size_steps"] == [5, 7]


def test_a_sweep_goes_through_the_sizes_and_its_members_come_out(place):
    swept = nstjax.sweep(
        "content.png",
        "style.png",
        vary={"style": [1.0, 30.0]},
        experiment="quick.py",
        weights="vgg.safetensors",
        out="sweep",
        listener=StopAt(7),
        snapshots=(7,),
        **PYRAMID,
    )
    assert not swept.finished
    # A member of its own, in the midst of the second size.
    alone = nstjax.resume("sweep/members/style=30")
    single = run("single", loss_weights={"style": 30.0}, **PYRAMID)
    # Another program than the batch's: last bits, which Adam's division blows up where gradients are tiny.
    assert np.abs(alone.picture - single.picture).mean() < 1e-4
    assert main(["resume", "sweep", "--quiet"]) == 0
    one = images.read("sweep/members/style=1/output.png").rgb
    expected = run("one", loss_weights={"style": 1.0}, **PYRAMID).picture
    assert one.shape == (24, 32, 3) and np.abs(one - expected).mean() < 3e-3  # 8 bits


FLAVOURED = """
flavours = {"torchvision": {"sizes": (20, 32), "size_steps": (5, 4)}}
"""


@pytest.mark.parametrize("init", ["content", "noise"])
def test_weights_of_a_flavour_may_ask_for_other_sizes(place, init):
    """Known only once the pictures are there, which then begin at the first of those sizes."""
    Path("quick.py").write_text(EXPERIMENT + FLAVOURED)
    Path("sized.py").write_text(EXPERIMENT)
    flavoured = run("flavoured", init=init)
    named = run("named", experiment="sized.py", init=init, **PYRAMID)
    assert flavoured.record["config"]["sizes"] == [20, 32] and flavoured.steps == 9
    np.testing.assert_array_equal(flavoured.picture, named.picture)
    assert nstjax.resume("flavoured").steps == 9
    settings = {"weights": "vgg.safetensors", "init": init}
    swept = nstjax.sweep("content.png", "style.png", vary={"seed": [0, 1]}, experiment="quick.py", **settings)
    assert swept.finished and swept.members[0].record["config"]["sizes"] == [20, 32]
    assert swept.members[0].record["pictures"]["start"]["shape"] == [15, 20, 3]


def test_weights_of_a_flavour_may_not_ask_for_another_result(place):
    Path("quick.py").write_text(EXPERIMENT + 'flavours = {"caffe": {"size": 64}}\n')
    with pytest.raises(UserError, match="another size with caffe weights"):
        nstjax.load("quick.py")


def test_the_command_line_takes_sizes(place, capsys):
    Path("quick.py").write_text(EXPERIMENT)
    arguments = ["--size", "32", "--smallest-size", "20", "--size-steps", "2,3", "--size-ratio", "1.6"]
    pictures = ["run", "content.png", "style.png", "--experiment", "quick.py", "--weights", "vgg.safetensors"]
    assert main([*pictures, *arguments, "--out", "runs/sizes"]) == 0
    assert "going on at 32x24 pixels" in capsys.readouterr().err
    assert json.loads(Path("runs/sizes/config.json").read_text())["config"]["steps"] == 5
