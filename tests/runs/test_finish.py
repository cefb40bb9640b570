"""A further pass at the last size, with terms and weights of its own."""

from pathlib import Path

import numpy as np
import pytest
from quick_run import assert_same_run, read_losses

import nstjax
from nstjax.errors import Failure, UserError
from nstjax.experiment.config import Config

FINISH = {"sizes": (20, 32), "steps": (3, 2, 4), "finish_weights": {"style": 30.0}, "restart_optimiser": True}


def run_quick(out=None, **settings):
    options = {"experiment": "quick.py", "weights": "vgg.safetensors", "log_every": 1, **settings}
    return nstjax.stylize("content.png", "style.png", out=out, **options)


def test_the_pass_is_a_stage_after_the_sizes():
    config = Config(loss_weights={"content": 1, "style": 2}, **FINISH)
    assert config.stage_ends == (3, 5, 9) and config.total_steps == 9 and config.every_size == (20, 32)
    assert [*config.weights_at(4)] == ["content", "style"] and config.weights_at(5) == {"style": 30.0}
    assert config.replace(steps=18).stage_ends == (6, 10, 18)
    assert config.replace(size=64).stage_ends == (3, 5, 9)
    assert config.replace(steps=(7,)).stage_ends == (7, 14, 21)
    with pytest.raises(UserError, match="steps are given for 4 stages, but there are 3"):
        config.replace(steps=(1, 2, 3, 4))
    with pytest.raises(UserError, match="no term 'tv' in finish_weights: expected one of content, style"):
        config.replace(finish_weights={"tv": 1.0})


STYLE_ALONE = '''"""The style alone."""
import dataclasses

import quick

config = dataclasses.replace(quick.config, loss_weights={"style": 30.0})

def terms(config):
    return quick.terms(config)[1:2]
'''


def test_the_pass_equals_a_second_run_from_the_result_of_the_first(workspace):
    Path("style_alone.py").write_text(STYLE_ALONE)
    settings = {"clamp": True, "restart_optimiser": True}  # the result of a run is clipped
    first = run_quick(steps=3, **settings)
    second = run_quick(experiment="style_alone.py", init=first.picture, steps=4, **settings)
    both = run_quick(**{**settings, **FINISH, "sizes": (32,), "steps": (3, 4)})
    np.testing.assert_array_equal(both.picture, second.picture)
    assert np.abs(second.picture - first.picture).mean() > 0.01


def test_lines_and_metrics_have_the_terms_that_take_part(workspace):
    result = run_quick("run", **FINISH)
    names = [{*line} - {"step", "total"} for line in read_losses("run")]
    assert names == [{"content", "style", "tv"}] * 5 + [{"style"}] * 4
    np.testing.assert_array_equal(np.isnan(result.metrics["content"]), [False] * 5 + [True] * 4)
    # At the same picture, the pass begins with a style loss below that before the last step; its total has its weight.
    np.testing.assert_allclose(result.metrics["total"][5:], 30 * result.metrics["style"][5:], rtol=1e-6)
    assert result.metrics["style"][8] < result.metrics["style"][5]
    assert Path("run/report.html").exists() and nstjax.status("run").losses.keys() == {"total", "style"}
    lines = Path("run/metrics.jsonl").read_text().splitlines()
    Path("run/metrics.jsonl").write_text("\n".join([*lines[:-1], lines[0].replace('"step": 0', '"step": 8')]) + "\n")
    with pytest.raises(Failure, match="step 8 has content"):
        nstjax.report("run")


def test_memory_for_the_last_size_is_checked_before_step_0(workspace, monkeypatch):
    """The pass is not the stage that needs most: the steps at the last size before it are checked too."""

    def check_memory(needed, inputs, config):
        if inputs.content.shape[1] == 32 and "content" in config.loss_weights:
            raise UserError("too large")

    monkeypatch.setattr("nstjax.runs.compiling.check_memory", check_memory)
    with pytest.raises(UserError, match="too large"):
        run_quick("run", **FINISH)
    assert not Path("run").exists()  # refused in the middle, a run would keep its folder


def test_the_members_of_a_sweep_make_the_pass_too(workspace):
    options = {"experiment": "quick.py", "weights": "vgg.safetensors", **FINISH}
    swept = nstjax.sweep("content.png", "style.png", vary={"content": [1.0, 30.0]}, **options)
    for member, weight in zip(swept.members, (1.0, 30.0), strict=True):
        assert_same_run(member.picture, run_quick(loss_weights={"content": weight}, **FINISH).picture)
