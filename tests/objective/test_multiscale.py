"""Coarse to fine: states are resized from size to size, and such a run resumes to the byte."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import smooth_picture
from quick_run import EXPERIMENT, StopAt, read_losses

import nstjax
from nstjax import images, losses
from nstjax.cli import main
from nstjax.errors import UserError
from nstjax.experiment.config import Config
from nstjax.multiscale import resize_state
from nstjax.objective import Objective
from nstjax.optimise import Method, Problem, current_picture, init, picture, run_chunk
from nstjax.optimisers import adam, fixed_step_lbfgs, lbfgs, rmsprop, sgd
from nstjax.parameterisation import Fourier, LaplacianPyramid, Pixels
from nstjax.types import PictureTerm

SMALL, LARGE = (12, 15), (17, 21)
PYRAMID = {"sizes": (20, 32), "steps": (5, 4)}


def make_parameterisation(kind, shape):
    return Pixels() if kind is Pixels else kind(*shape)


def make_methods(optimiser, kind=Pixels, **settings):
    objective = Objective((PictureTerm("tv", losses.total_variation_squared),))
    return [Method(objective, optimiser, make_parameterisation(kind, shape), **settings) for shape in (SMALL, LARGE)]


def init_run(method):
    return init(method, jnp.asarray(smooth_picture(*SMALL)), learning_rate=0.01, key=jax.random.key(1))


def run_steps(method, steps=3):
    return run_chunk(init_run(method), Problem(None, {}, {"tv": 1.0}), steps, method=method)[0]


def resize_to_large(state, *, before, after):
    """Resize a state in one compiled program, as runs do."""
    return jax.jit(lambda state: resize_state(state, LARGE, before=before, after=after))(state)


@pytest.mark.parametrize("kind", [Pixels, Fourier, LaplacianPyramid])
def test_picture_and_moments_are_resized_and_counts_are_kept(kind):
    small, large = make_methods(adam(), kind)
    state = run_steps(small)
    resized = resize_to_large(state, before=small, after=large)
    expected = jax.image.resize(small.parameterisation.decode(state.parameters), (*LARGE, 3), "cubic")
    # Rounding of Fourier's and the pyramid's decode and encode in float32.
    np.testing.assert_allclose(large.parameterisation.decode(resized.parameters), expected, atol=1e-5)
    assert int(resized.step) == 3 and np.isinf(resized.lowest) and not resized.failed
    inner = resized.optimiser.inner_state[0]
    assert int(inner.count) == int(resized.optimiser.count) == 3
    assert optax.tree.get(resized.optimiser, "learning_rate") == jnp.float32(0.01)
    shapes = jax.tree.map(jnp.shape, resized.parameters)
    assert jax.tree.map(jnp.shape, inner.mu) == jax.tree.map(jnp.shape, inner.nu) == shapes
    assert all((leaf >= 0).all() for leaf in jax.tree.leaves(inner.nu))
    if kind is Pixels:
        old = state.optimiser.inner_state[0]
        np.testing.assert_allclose(inner.mu, jax.image.resize(old.mu, (*LARGE, 3), "cubic"), atol=1e-7)
        np.testing.assert_allclose(inner.nu, jax.image.resize(old.nu, (*LARGE, 3), "linear"), atol=1e-9)


def test_squared_moments_are_never_negative():
    small, large = make_methods(adam())
    state = run_steps(small)
    spike = jnp.zeros((*SMALL, 3)).at[6, 7].set(1.0)
    state = dataclasses.replace(state, optimiser=optax.tree.set(state.optimiser, nu=-spike))
    assert (optax.tree.get(resize_state(state, LARGE, before=small, after=large).optimiser, "nu") >= 0).all()


def test_moments_of_other_optimisers_are_resized_and_lbfgs_starts_again():
    for optimiser, name in ((rmsprop(momentum=0.5), "trace"), (sgd(momentum=0.5), "trace"), (rmsprop(), "nu")):
        small, large = make_methods(optimiser)
        state = run_steps(small)
        resized = resize_to_large(state, before=small, after=large)
        moment = optax.tree.get(resized.optimiser, name)
        assert moment.shape == (*LARGE, 3)
        old = optax.tree.get(state.optimiser, name)
        # Resampling changes the mean a little.
        np.testing.assert_allclose(jnp.abs(moment).mean(), jnp.abs(old).mean(), rtol=0.5)
    small, large = make_methods(lbfgs())
    resized = resize_to_large(run_steps(small), before=small, after=large)
    assert int(optax.tree.get(resized.optimiser, "count")) == 0
    small, large = make_methods(fixed_step_lbfgs(memory=3))
    state = init_run(small)
    state = dataclasses.replace(state, optimiser=optax.tree.set(state.optimiser, stored=jnp.int32(2)))
    resized = resize_to_large(state, before=small, after=large)
    assert int(optax.tree.get(resized.optimiser, "stored")) == 0
    assert optax.tree.get(resized.optimiser, "learning_rate") == jnp.float32(0.01)


@pytest.mark.parametrize(
    ("resampling", "enlarging"),
    [("lanczos", "bicubic"), ("bilinear", "bilinear"), ("area", "bilinear"), ("nearest", "bilinear")],
)
def test_the_picture_is_resized_by_the_filter_of_the_run(resampling, enlarging):
    small, large = make_methods(adam())
    state = init_run(small)
    resized = resize_state(state, LARGE, before=small, after=large, resampling=resampling)
    # In here the picture is within [0, 1], to which Pillow's is clipped.
    expected = images.resample(np.asarray(state.parameters), *LARGE, resampling=enlarging)
    np.testing.assert_allclose(np.clip(resized.parameters, 0, 1), expected, atol=1e-6)


def test_bicubic_is_that_of_pytorch():
    small, large = make_methods(adam())
    point = np.zeros((*SMALL, 3), np.float32)
    point[4, 5] = 1
    state = dataclasses.replace(init_run(small), parameters=jnp.asarray(point))
    resized = resize_state(state, (2 * SMALL[0], 2 * SMALL[1]), before=small, after=large, resampling="bicubic")
    # The weights at a quarter and at three quarters of the way between two pixels, with the parameter -0.75.
    weights = np.array([-0.03515625, -0.10546875, 0.26171875, 0.87890625])
    column = np.concatenate([weights, weights[::-1]])
    np.testing.assert_allclose(resized.parameters[5:13, 7:15, 0], np.outer(column, column), atol=1e-6)


def test_a_picture_is_clipped_before_it_grows_if_the_settings_ask_for_it():
    small, large = make_methods(adam())
    state = init_run(small)
    state = dataclasses.replace(state, parameters=2 * state.parameters - 0.5)
    options = {"before": small, "after": large, "resampling": "bilinear"}
    clipped = dataclasses.replace(state, parameters=jnp.clip(state.parameters, 0, 1))
    expected = resize_state(clipped, LARGE, **options).parameters
    np.testing.assert_array_equal(resize_state(state, LARGE, clip=True, **options).parameters, expected)
    assert jnp.abs(resize_state(state, LARGE, **options).parameters - expected).max() > 0.1


def test_the_average_is_resized_and_starts_again():
    small, large = make_methods(adam(), keep="average", average_decay=0.5)
    state = run_steps(small)
    resized = resize_state(state, LARGE, before=small, after=large)
    expected = jax.image.resize(state.kept.value, (*LARGE, 3), "cubic")
    np.testing.assert_allclose(resized.parameters, expected, atol=1e-6)
    np.testing.assert_allclose(picture(resized, method=large), np.clip(expected, 0, 1), atol=1e-6)


def test_a_run_that_has_diverged_keeps_its_picture():
    small, large = make_methods(adam())
    state = dataclasses.replace(run_steps(small), failed=jnp.bool_(True))
    resized = resize_state(state, LARGE, before=small, after=large)
    expected = np.clip(jax.image.resize(state.previous, (*LARGE, 3), "cubic"), 0, 1)
    assert resized.failed
    np.testing.assert_allclose(picture(resized, method=large), expected, atol=1e-6)


def test_details_are_added_the_optimiser_restarts_and_the_rate_changes():
    small, large = make_methods(adam(), LaplacianPyramid)
    details = jnp.asarray(smooth_picture(*LARGE, seed=5)) - 0.5
    options = {"before": small, "after": large}
    plain = resize_state(run_steps(small), LARGE, **options)
    changed = resize_state(run_steps(small), LARGE, **options, details=details, restart=True, rate_factor=0.5)
    added = large.parameterisation.decode(changed.parameters) - large.parameterisation.decode(plain.parameters)
    np.testing.assert_allclose(added, details, atol=1e-5)  # rounding of the pyramid in float32
    assert optax.tree.get(changed.optimiser, "learning_rate") == jnp.float32(0.005)
    initial = large.optimiser.init(changed.parameters)
    expected = optax.tree.set(initial, learning_rate=jnp.float32(0.005))
    assert all(map(np.array_equal, jax.tree.leaves(changed.optimiser), jax.tree.leaves(expected)))
    assert int(changed.step) == 3 and optax.tree.get(plain.optimiser, "learning_rate") == jnp.float32(0.01)


def test_a_resized_state_can_be_donated():
    small, large = make_methods(adam(), keep="best")
    resized = jax.jit(lambda state: resize_state(state, LARGE, before=small, after=large))(run_steps(small))
    state, metrics = run_chunk(resized, Problem(None, {}, {"tv": 1.0}), 2, method=large)
    assert int(state.step) == 5 and current_picture(state, method=large).shape == (*LARGE, 3)
    assert metrics["total"][1] < metrics["total"][0]


# The settings.


@pytest.mark.parametrize(
    ("settings", "sizes", "ends"),
    [
        ({"sizes": "128:512", "steps": (1000, 500)}, (128, 181, 256, 362, 512), 3000),
        ({"sizes": "500:500", "steps": 7}, (500,), 7),
        ({"sizes": (512, 1024), "steps": (500, 200)}, (512, 1024), 700),
        ({"sizes": "30:100:2", "steps": 5}, (50, 100), 5),
        ({"sizes": 64, "steps": (9,)}, (64,), 9),
    ],
)
def test_sizes_and_their_steps(settings, sizes, ends):
    config = Config(**settings)
    assert config.every_size == sizes and config.stage_ends[-1] == config.total_steps == ends


def test_replacing_sizes_and_steps():
    config = Config(sizes=(512, 1024), steps=(500, 200))
    assert config.replace(size=300).every_size == (150, 300)
    assert config.replace(steps=10).stage_ends == (7, 10)
    assert config.replace(size=None).every_size == (None,)
    assert config.replace(size=None).total_steps == 500
    # One way to give the sizes replaces the other, and sizes that are removed take their steps with them.
    assert config.replace(sizes="400:1024:2").every_size == (512, 1024)
    assert config.replace(sizes="400:1024", steps=(9, 8, 7)).stage_ends == (9, 17, 24)
    assert config.replace(sizes="20:40:2").every_size == (20, 40)
    assert config.replace(sizes=(300,)).stage_ends == (500,)
    ways = Config(sizes="128:512", steps=(1000, 500))
    assert ways.replace(sizes=(64, 96)).every_size == (64, 96)
    assert ways.replace(size=100).stage_ends == (1000,)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sizes": (64, 32)}, "coarse to fine"),
        ({"sizes": "512:128"}, "from coarse to fine, not '512:128': give 128:512"),
        ({"sizes": "128:x"}, "or a range, as in .*, not '128:x'"),
        ({"sizes": "128:512:1"}, "ratio of sizes must be at least 1.01, not 1.0"),
        ({"sizes": (32, 64), "steps": (1, 2, 3)}, "steps are given for 3 sizes, but there are 2"),
        ({"sizes": 64, "steps": (1, 2, 3), "finish_weights": {"style": 1}}, "given for 3 stages, but there are 2"),
        ({"finish_weights": {"style": "much"}}, "weight of 'style' in finish-weights must be a number"),
        ({"sizes": (0, 64)}, "sizes must be at least 1"),
        ({"restart_optimiser": True, "schedule": "cosine"}, "restart-optimiser does not go with schedule cosine"),
        ({"sizes": (0.5, 64)}, "sizes must be a whole number"),
        ({"steps": (10**20,)}, "steps must be at most 2,147,483,647"),
        ({"loss_weights": {"style": 1e40}}, r"must be a finite number, not 1e\+40"),
    ],
)
def test_invalid_sizes_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        Config(**settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 64, "sizes": "32:64"}, "size and sizes exclude each other"),
        ({"size": 64, "sizes": (32, 64)}, "size and sizes exclude each other"),
    ],
)
def test_settings_that_exclude_each_other_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        Config().replace(**changes)


def test_a_first_size_too_small_for_the_layers_is_refused(workspace):
    with pytest.raises(UserError, match=r"too small for layer relu2_1"):
        run_quick(None, sizes=(1, 32))


# Whole runs.


def run_quick(out, *, experiment="quick.py", **settings):
    return nstjax.stylize(
        "content.png", "style.png", experiment=experiment, weights="vgg.safetensors", out=out, **settings
    )


def test_each_size_continues_from_the_one_before(workspace):
    pieces = {"snapshots": (5, 9), "log_every": 1, **PYRAMID}
    result = run_quick("whole", **pieces)
    assert result.picture.shape == (24, 32, 3) and result.steps == 9
    assert images.read("whole/snapshots/000005.png").rgb.shape == (15, 20, 3)
    assert images.read("whole/snapshots/000009.png").rgb.shape == (24, 32, 3)
    coarse = nstjax.stylize(
        "content.png", "style.png", experiment="quick.py", weights="vgg.safetensors", size=20, steps=5
    )
    coarse_picture = images.resample(coarse.picture, 24, 32)
    # Four steps of Adam at 0.02 move each pixel by about 0.08 at most; the rest is Lanczos against cubic resampling.
    assert np.abs(result.picture - coarse_picture).max() < 0.2


FROM_ORIGINALS = {"smaller_from": "original", "clip_sizes": True, "resampling": "gaussian"}
"""A run as Gatys makes it."""

WITH_FINISH = {"finish_weights": {"style": 30.0}, "steps": (5, 2, 2)}
"""A run with a further pass at the last size."""

FROM_MEAN = {"init": "style-mean", "content_details": True, "restart_optimiser": True, "last_size_rate": 0.5}
"""A run as STROTSS makes it."""


@pytest.mark.parametrize(
    "settings",
    [{"parameterisation": "fourier", "keep": "average"}, {"keep": "best", **FROM_ORIGINALS}, FROM_MEAN, WITH_FINISH],
)
def test_a_run_stopped_at_every_size_resumes_to_the_same_bytes(workspace, settings):
    """It is stopped within the first size, between the sizes, and within the second size or before a further pass."""
    pieces = {"snapshot_every": 2, "log_every": 1, **PYRAMID, **settings}
    whole = run_quick("whole", **pieces)
    stopped = run_quick("cut", listener=StopAt(3), **pieces)
    assert 3 <= stopped.steps < 5
    for stop in (5, 7):
        stopped = nstjax.resume("cut", listener=StopAt(stop))
        assert stop <= stopped.steps < stop + 2
    resumed = nstjax.resume("cut")
    np.testing.assert_array_equal(whole.picture, resumed.picture)
    assert read_losses("whole") == read_losses("cut")
    for name in ("000004.png", "000008.png"):
        assert Path("whole/snapshots", name).read_bytes() == Path("cut/snapshots", name).read_bytes()


def test_a_run_from_the_mean_of_the_style_begins_with_the_details_of_the_content(workspace):
    settings = {"resampling": "area", "depth": 16, "snapshots": (0,), "learning_rate": 1e-5, **FROM_MEAN}
    run_quick("whole", sizes=(20, 32), steps=(1, 1), **settings)
    style, content = (images.read(f"{name}.png").rgb for name in ("style", "content"))
    mean = images.resize(images.resize(style, 32, resampling="area"), 20, resampling="area").mean(axis=(0, 1))
    small = images.resample(images.resize(content, 32, resampling="area"), 15, 20, resampling="area")
    expected = mean + LaplacianPyramid(15, 20).encode(jnp.asarray(small))[0]
    snapshot = images.read("whole/snapshots/000000.png").rgb
    np.testing.assert_allclose(snapshot, np.clip(expected, 0, 1), atol=0.51 / 255)  # 8 bits
    # At the last size no details are added.
    enlarged = jax.image.resize(expected, (24, 32, 3), "linear")
    np.testing.assert_allclose(images.read("whole/output.png").rgb, np.clip(enlarged, 0, 1), atol=1e-4)  # 16 bits


def test_the_members_of_a_sweep_get_the_details_of_the_content_too(workspace):
    settings = {"sizes": (12, 20, 32), "steps": (1, 1, 1), "learning_rate": 1e-5, **FROM_MEAN}
    options = {"experiment": "quick.py", "weights": "vgg.safetensors", **settings}
    swept = nstjax.sweep("content.png", "style.png", vary={"style": [1.0, 30.0]}, **options)
    single = run_quick(None, **settings).picture
    # At this rate the steps move nothing; without the details of the middle size the pictures differ by far more.
    np.testing.assert_allclose(swept.members[0].picture, single, atol=1e-3)


def test_sizes_beyond_the_picture_are_dropped_with_a_warning(workspace):
    warnings = []

    class Recorder(StopAt):
        def warning(self, message):
            warnings.append(message)

    beyond = {"sizes": (20, 40, 64, 80), "steps": (2, 3, 4, 5)}
    result = nstjax.stylize(
        "content.png", "style.png", experiment="quick.py", weights="vgg.safetensors", listener=Recorder(99), **beyond
    )
    assert result.picture.shape == (30, 40, 3) and result.steps == 2 + 3
    assert len(warnings) == 1 and "has 40x30 pixels: only 2 of 4 sizes differ" in warnings[0]
    assert result.record["config"]["sizes"] == [20, 40]


def test_additional_steps_are_made_at_the_last_size(workspace):
    run_quick("short", **PYRAMID)
    longer = nstjax.resume("short", steps=12)
    np.testing.assert_array_equal(longer.picture, run_quick("long", **{**PYRAMID, "steps": (5, 7)}).picture)
    assert json.loads(Path("short/config.json").read_text())["config"]["steps"] == [5, 7]


def test_a_sweep_with_sizes_equals_the_single_runs(workspace):
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
    # A member resumed alone, in the middle of the second size.
    alone = nstjax.resume("sweep/members/style=30")
    single = run_quick("single", loss_weights={"style": 30.0}, **PYRAMID)
    # The batch is another program: the last bits differ, and Adam's division amplifies them where gradients are tiny.
    assert np.abs(alone.picture - single.picture).mean() < 1e-4
    assert main(["resume", "sweep", "--quiet"]) == 0
    one = images.read("sweep/members/style=1/output.png").rgb
    expected = run_quick("one", loss_weights={"style": 1.0}, **PYRAMID).picture
    assert one.shape == (24, 32, 3) and np.abs(one - expected).mean() < 3e-3  # rounding to 8 bits


FLAVOURED = """
flavours = {"torchvision": {"sizes": (20, 32), "steps": (5, 4)}}
"""


@pytest.mark.parametrize("init", ["content", "noise"])
def test_a_flavour_can_change_the_sizes(workspace, init):
    """The sizes are known only when the weights are; the pictures start at the first of them."""
    Path("quick.py").write_text(EXPERIMENT + FLAVOURED)
    Path("sized.py").write_text(EXPERIMENT)
    flavoured = run_quick("flavoured", init=init)
    named = run_quick("named", experiment="sized.py", init=init, **PYRAMID)
    assert flavoured.record["config"]["sizes"] == [20, 32] and flavoured.steps == 9
    np.testing.assert_array_equal(flavoured.picture, named.picture)
    assert nstjax.resume("flavoured").steps == 9
    settings = {"weights": "vgg.safetensors", "init": init}
    swept = nstjax.sweep("content.png", "style.png", vary={"seed": [0, 1]}, experiment="quick.py", **settings)
    assert swept.finished and swept.members[0].record["config"]["sizes"] == [20, 32]
    assert swept.members[0].record["pictures"]["start"]["shape"] == [15, 20, 3]


def test_the_command_line_takes_sizes(workspace, capsys):
    Path("quick.py").write_text(EXPERIMENT)
    arguments = ["--sizes", "20:32:1.6", "--steps", "2,3"]
    pictures = ["run", "content.png", "style.png", "--experiment", "quick.py", "--weights", "vgg.safetensors"]
    assert main([*pictures, *arguments, "--out", "runs/sizes"]) == 0
    assert "continuing at 32x24 pixels" in capsys.readouterr().err
    assert json.loads(Path("runs/sizes/config.json").read_text())["config"]["steps"] == [2, 3]
