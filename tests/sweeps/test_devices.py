"""Several devices in one process, and programs for devices that this machine lacks."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import narrow_vgg19, smooth_picture
from quick_run import run_on_devices

from nstjax import images, losses, optimisers, statistics
from nstjax.cli import main
from nstjax.losses import layer_sum
from nstjax.objective import Objective
from nstjax.optimise import Method, Problem, init, run_chunk
from nstjax.statistics import per_layer
from nstjax.types import Term

WEIGHTS = ["1", "5", "10", "50", "100"]
# A difference in rounding becomes a different step where a gradient changes its sign or a maximum its position. The
# pictures are therefore compared where that is rare: from noise, with average pooling, at a small learning rate.
CALM = {"init": "noise", "pooling": "average", "learning_rate": 0.005, "steps": 20}
CALM_STEPS = str(CALM["steps"])
SWEEP = ["content.png", "style.png", "--experiment", "quick.py", "--weights", "vgg.safetensors"]
SWEEP += [word for name, value in CALM.items() for word in ("--" + name.replace("_", "-"), str(value))]


def read_outputs(folder):
    return {path.parent.name: images.read(path).rgb for path in Path(folder).glob("members/*/output.png")}


def test_members_spread_over_devices_equal_those_of_one_device(workspace):
    """Five members on eight devices: three places are filled with copies, whose results are dropped."""
    sweep = ["sweep", *SWEEP, "--style-weight", *WEIGHTS]
    stderr = run_on_devices(8, [*sweep, "--out", "eight"])
    assert "5 members, 5 at a time, on 8 devices" in stderr
    assert main([*sweep, "--out", "one"]) == 0
    eight, one = read_outputs("eight"), read_outputs("one")
    assert list(eight) == list(one) and len(one) == 5
    for name, picture in one.items():
        # A value half-way between two levels may be rounded to either.
        np.testing.assert_allclose(eight[name], picture, atol=1.01 / 255)


def test_a_sweep_resumed_on_as_many_devices_is_equal_and_on_others_nearly_equal(workspace):
    sweep = ["sweep", *SWEEP, "--style-weight", *WEIGHTS, "--group-size", "4"]
    shorter = ["--steps", "8", "--horizon", CALM_STEPS, "--log-every", "2"]
    run_on_devices(
        4,
        [*sweep, "--out", "whole"],
        [*sweep, *shorter, "--out", "other"],
        ["copy", "other", "same"],
        ["resume", "same", "--steps", CALM_STEPS],
    )
    stderr = run_on_devices(2, ["resume", "other", "--steps", CALM_STEPS])
    assert "continuing on 2 of 2 devices, but the sweep last ran on 4: the last bits may differ" in stderr
    for path in Path("other/members").iterdir():
        assert json.loads((path / "config.json").read_text())["sweep"]["devices"] == 2
    whole, same, other = map(read_outputs, ("whole", "same", "other"))
    for name, picture in whole.items():
        np.testing.assert_array_equal(same[name], picture)
        np.testing.assert_allclose(other[name], picture, atol=1.01 / 255)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_program_is_lowered_for_devices_that_this_machine_lacks(platform, dtype):
    gram, same = per_layer(statistics.gram), per_layer(statistics.feature_map)
    objective = Objective(
        (
            Term("content", ("relu2_1",), same, layer_sum(losses.mean_squared), "content"),
            Term("style", ("relu1_1", "relu3_1"), gram, layer_sum(losses.mean_squared), "style"),
        )
    )
    vgg = narrow_vgg19("block3_conv1", dtype=jnp.dtype(dtype))
    picture = jnp.asarray(smooth_picture(24, 32))
    targets = objective.targets(vgg, content=picture, style=picture)
    problem = Problem(vgg, targets, {"content": 1.0, "style": 1.0})
    method = Method(objective, optimisers.adam())

    def chunk(picture):
        state = init(method, picture, learning_rate=0.1, key=jax.random.key(0))
        return dataclasses.replace(run_chunk(state, problem, 10, method=method)[0], key=None)

    exported = jax.export.export(jax.jit(chunk), platforms=[platform])(picture)
    assert exported.platforms == (platform,)
    text = exported.mlir_module()
    assert text.count("stablehlo.convolution") >= 10 and "stablehlo.while" in text
