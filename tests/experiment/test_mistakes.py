"""Mistakes in an experiment's file: each is one line that names the file and the line, and nothing is written."""

import re
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from quick_run import EXPERIMENT, QUICK

import nstjax
from nstjax import images
from nstjax.cli import main
from nstjax.errors import UserError
from nstjax.experiment.experiment import load
from nstjax.objective import Objective

LOADED = {
    "flavours that are a list": ('flavours = ["caffe"]', r"x\.py, line 20, must define flavours as .* not \['caffe'\]"),
    "a flavour that is a text": ('flavours = {"caffe": "x"}', r"line 20, must define flavours as .*'caffe': 'x'"),
    "an unknown flavour": ('flavours = {"cafe": {}}', r"line 20, has a flavour 'cafe': expected one of caffe"),
    "settings for an unknown flavour": ('flavour = "cafe"', r"line 20, must define flavour as one of caffe.*'cafe'"),
    "settings for several flavours": ('flavour = ["caffe"]', r"line 20, must define flavour as .* not \['caffe'\]"),
    "a flavour's setting of a wrong kind": ('flavours = {"caffe": {"clamp": "x"}}', r"line 20, .*cannot have: clamp"),
    "a flavour's unknown setting": ('flavours = {"caffe": {"stepz": 5}}', r"line 20, .*no setting 'stepz'"),
    "a version that is no plain data": ("version = object()", r"line 20, must define version as a number or a text"),
    "a config that is none": ("config = {}", r"line 20, must define config = nstjax.Config"),
    "terms that are no function": ("terms = ()", r"line 20, must define a function terms\(config\)"),
    "terms without an argument": ("def terms(): pass", r"terms \(.*x\.py, line 20\) must take \(config\), not \(\)"),
    "an exit": ("import sys; sys.exit()", r"x\.py fails at line 20: SystemExit$"),
    "the exit of the console": ("exit(3)", r"x\.py fails at line 20: SystemExit: 3$"),
    "a bad setting": ("nstjax.Config(steps=-1)", r"x\.py fails at line 20: steps must be at least 0"),
    "no Python": ("def f(:", r"x\.py fails at line 20: SyntaxError"),
    "a zero byte": ("x = '\0'", r"x\.py.*null bytes"),
    "too deep a nesting": ("x = " + 5_000 * "(", r"x\.py.*(nested|Recursion|memory)"),
}


@pytest.mark.parametrize("case", LOADED)
def test_a_file_that_defines_no_experiment_is_refused(tmp_path, case):
    text, message = LOADED[case]
    Path(tmp_path, "x.py").write_text(f"{EXPERIMENT}\n{text}\n")
    with pytest.raises(UserError, match=message) as caught:
        load(tmp_path / "x.py")
    assert "\n" not in str(caught.value)


def mean(features):
    return features.mean((0, 1))


def difference(x, t):
    return jnp.sum((x - t) ** 2)


def with_generator(x, t, generator):
    return difference(x, t)


def make_style(layers=("relu1_1",), *, statistic=mean, distance=difference):
    return nstjax.style_term(layers, statistic, nstjax.layer_sum(distance))


marked = nstjax.statistics.sums_over_positions(lambda features: mean(features))
PLACE = rf"\({re.escape(__file__)}, line \d+\)"
TERMS = {
    "a key of another name": (
        lambda: make_style(distance=with_generator),
        rf"with_generator {PLACE} must take \(x, t\), or \(x, t, key\) to draw random numbers, not \(x, t, generator\)",
    ),
    "a distance that is none": (lambda: make_style(distance=3), "must be a function of .x, t., .* not 3"),
    "a statistic of nothing": (lambda: make_style(statistic=lambda: 0), rf"lambda> {PLACE} must take \(features_HxWxC"),
    "a mark without weights": (
        lambda: make_style(statistic=marked),
        rf"{PLACE} must take \(features_HxWxC, \*, weight_HxW=None\), as it is marked @sums_over_positions, not",
    ),
    "an unknown target": (
        lambda: nstjax.Term("a", ("relu1_1",), mean, difference, "stile"),  # type: ignore[arg-type]
        "must be content, style or a function, not 'stile'",
    ),
    "a loss of two pictures": (lambda: nstjax.PictureTerm("tv", difference), rf"{PLACE} must take \(picture\), not"),
}


@pytest.mark.parametrize("case", TERMS)
def test_a_term_that_cannot_be_called_is_refused(unchecked_types, case):
    make_term, message = TERMS[case]
    with pytest.raises(UserError, match=message) as caught:
        Objective((make_term(),))
    assert "\n" not in str(caught.value)


STYLE = "gram, nstjax.layer_sum(style)"
TRACED = {
    "a distance without a return": (
        "gram, nstjax.layer_sum(lambda x, t: None)",
        "must return a scalar, not None: is its",
    ),
    "a distance that returns an array": (
        "gram, nstjax.layer_sum(lambda x, t: x - t)",
        r"line 16\) must return a scalar, not an array of shape \[64, 64\]: sum it",
    ),
    "a statistic without a return": (
        "nstjax.per_layer(lambda f: None), nstjax.layer_sum(style)",
        r"line 16\) must return arrays, not None: is its return missing",
    ),
    "a forgotten layer_sum": (
        "gram, style",
        r"terms \(quick.py, line 11\), in the term 'style'.*; is nstjax.layer_sum missing",
    ),
    "a forgotten layer_sum, with a distance of the file": (
        "gram, (lambda x, t: (x - t) ** 2)",
        r"line 16, in the term 'style': TypeError: .*; is nstjax.layer_sum missing around the distance",
    ),
    "an exit": ("gram, (lambda x, t: exit())", r"quick.py fails at line 16: SystemExit"),
}


@pytest.mark.parametrize("case", TRACED)
def test_a_loss_that_fails_when_it_is_traced_is_refused(workspace, capsys, unchecked_types, case):
    functions, message = TRACED[case]
    assert STYLE in EXPERIMENT
    Path("quick.py").write_text(EXPERIMENT.replace(STYLE, functions))
    assert main([*QUICK, "--out", "out", "--quiet"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and re.search(message, error), error
    assert not Path("out").exists()


# Modules beside the file.


@pytest.fixture
def with_modules(workspace):
    """Put modules beside the experiment: a package, and a module that is imported in a function only."""
    Path("lib").mkdir()
    Path("lib/__init__.py").write_text("from .sums import squared\n")
    Path("lib/sums.py").write_text("import late_module\n\ndef squared(x, t):\n    return ((x - t) ** 2).sum()\n")
    Path("bare/inner").mkdir(parents=True)
    Path("bare/inner/numbers.py").write_text("SCALE = 2.0\n")
    Path("late_module.py").write_text("from bare.inner.numbers import SCALE\n")
    Path("unused_module.py").write_text("raise RuntimeError\n")
    text = EXPERIMENT.replace("import nstjax\n", "import lib.sums, nstjax\nfrom lib import squared\n", 1)
    text = text.replace("def terms(config):\n", "def terms(config):\n    from late_module import SCALE\n")
    Path("quick.py").write_text(text.replace("nstjax.layer_sum(style)", "nstjax.layer_sum(squared)"))
    return workspace


def test_modules_beside_the_file_are_imported_and_belong_to_the_run(with_modules, monkeypatch, capsys):
    sys.modules.pop("lib", None)
    before = {*sys.modules}
    assert main([*QUICK, "--out", "whole", "--steps", "6"]) == 0
    assert main([*QUICK, "--out", "out", "--steps", "3", "--horizon", "6"]) == 0
    assert not {"lib", "lib.sums", "late_module"} & ({*sys.modules} - before)
    modules = Path("out/inputs/modules")
    files = {path.relative_to(modules).as_posix() for path in modules.rglob("*") if path.is_file()}
    assert files == {"lib/__init__.py", "lib/sums.py", "late_module.py", "bare/inner/numbers.py"}
    Path("out").rename("elsewhere")
    for path in files:
        Path(path).write_text("raise RuntimeError\n")
    capsys.readouterr()
    assert main(["resume", "elsewhere", "--steps", "6"]) == 0
    lines = capsys.readouterr().err
    assert re.search(r"^executing elsewhere/inputs/experiment.py \(sha256 [0-9a-f]{12}\) and 4 modules$", lines, re.M)
    pictures = [images.read(f"{folder}/output.png").rgb for folder in ("whole", "elsewhere")]
    np.testing.assert_array_equal(*pictures)
    assert main(["resume", "elsewhere", "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_two_experiments_may_have_different_modules_of_one_name(tmp_path):
    experiments = []
    for name, steps in (("one", 3), ("two", 4)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "shared_name.py").write_text(f"STEPS = {steps}\n")
        text = "import shared_name\n" + EXPERIMENT.replace("steps=8", "steps=shared_name.STEPS")
        (folder / "x.py").write_text(text + "\ndef late():\n    import shared_name\n    return shared_name.STEPS\n")
        experiments.append(load(folder / "x.py"))
    assert [experiment.config.steps for experiment in experiments] == [3, 4]
    assert [experiment.terms.__globals__["late"]() for experiment in experiments] == [3, 4]


def test_a_mistake_in_a_module_is_one_line_with_its_place(tmp_path):
    (tmp_path / "x.py").write_text("import broken_module\n" + EXPERIMENT)
    for text, message in (
        ("\nx = 1 / 0\n", r"broken_module.py fails at line 2: ZeroDivisionError"),
        ("\n\ndef f(:\n", r"broken_module.py fails at line 3: SyntaxError"),
        ("import not_there\n", r"broken_module.py fails at line 1: ModuleNotFoundError: .*not_there"),
    ):
        (tmp_path / "broken_module.py").write_text(text)
        with pytest.raises(UserError, match=message):
            load(tmp_path / "x.py")


# What is executed.

CANARY = "import pathlib; pathlib.Path('canary').touch()\n"


def test_a_changed_experiment_is_refused_before_it_is_executed(with_modules, capsys):
    assert main([*QUICK, "--out", "out", "--steps", "3"]) == 0
    Path("out/inputs/modules/json.py").write_text(CANARY)
    Path("out/inputs/modules/unused_module.py").write_text(CANARY)
    for name in ("experiment.py", "modules/lib/sums.py", "modules/late_module.py"):
        path = Path("out/inputs", name)
        text = path.read_text()
        path.write_text(CANARY + text)
        capsys.readouterr()
        assert main(["status", "out"]) == 0 and main(["report", "out"]) == 0
        assert main(["resume", "out", "--quiet"]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and f"{name} was changed after the run began" in error
        path.write_text(text)
    assert main(["resume", "out", "--quiet"]) == 0
    assert not Path("canary").exists()
