import argparse
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import random_weights, smooth_picture
from PIL import Image
from quick_run import EXPERIMENT, QUICK, drop_import_times, run_process

from nstjax import images
from nstjax.cli import main, options
from nstjax.experiment.config import Config
from nstjax.network import weights

# Bad input: one line, exit code 2, nothing left behind, JAX not imported.


def _write_truncated(path):
    Path("whole.png").write_bytes(Path("content.png").read_bytes())
    path.write_bytes(Path("content.png").read_bytes()[:-200])


def _write_bomb(path):
    Image.new("1", (3000, 3000)).save(path)


BAD = {
    "missing picture": (["run", "nowhere.png", "style.png"], "nowhere.png"),
    "a folder": (["run", ".", "style.png"], "folder"),
    "an empty file": (["run", "bad.png", "style.png"], "empty", lambda path: path.touch()),
    "a truncated file": (["run", "bad.png", "style.png"], "truncated|cut short|incomplete", _write_truncated),
    "not a picture": (["run", "bad.png", "style.png"], "picture", lambda path: path.write_text("hello " * 99)),
    "a bomb": (["run", "bad.png", "style.png", "--pixel-limit", "1000000"], "pixel-limit", _write_bomb),
    "too small for the layers": (["run", "content.png", "style.png", "--size", "6"], "too small for layer"),
    "a size beyond reason": (
        ["run", "content.png", "style.png", "--size", "30000", "--enlarge"],
        "more than the limit",
    ),
    "a style too small": (["run", "content.png", "style.png", "--style-size", "5"], "the style picture would be"),
    "a folder that cannot be written": (["run", "content.png", "style.png", "--out", "style.png/x"], "cannot write"),
    "an unknown extension": (["run", "content.png", "style.png", "--save", "x.bmp"], "expected a name that ends in"),
    "a folder for --save that is missing": (["run", "content.png", "style.png", "--save", "no/x.png"], "no folder no"),
    "a result over an input": (["run", "content.png", "style.png", "--save", "style.png"], "write over a picture"),
    "a name that is too long": (
        ["run", "content.png", "style.png", "--out", "x" * 300],
        "path xxx.* is too long: a na",
    ),
    "a path that is too long": (["status", "x" * 300], "path xxx.* is too long"),
    "a start that is nothing": (["run", "content.png", "style.png", "--init", "nose"], "init must be content, noise"),
    "an unknown example": (["run", "example:nobody", "style.png"], "portrait"),
    "an unknown preset": (["run", "content.png", "style.png", "--preset", "x"], "no preset 'x'"),
    "an unknown option": (
        ["run", "content.png", "style.png", "--stile-weight", "1"],
        "unknown argument --stile-weight: nstjax run --help",
    ),
    "a misspelt value": (["run", "content.png", "style.png", "--steps", "many"], "as in 500 or 200,100, not 'many'"),
    "a bad setting": (["run", "content.png", "style.png", "--learning-rate", "nan"], "learning-rate"),
    "an unknown term": (["run", "content.png", "style.png", "--loss-weights", "stile=1"], "no term 'stile'"),
    "an unknown layer": (["run", "content.png", "style.png", "--layers", "style=relu9_1"], "no layer 'relu9_1'"),
    "no command": ([], "COMMAND"),
    "missing weights to convert": (["weights", "convert", "nowhere.h5"], "nowhere.h5"),
    "unknown weights": (["weights", "fetch", "vgg99"], "vgg99"),
}


@pytest.fixture(scope="module")
def deep_weights(tmp_path_factory):
    """Write random weights as deep as the default recipe needs."""
    file = tmp_path_factory.mktemp("weights") / "deep.safetensors"
    weights.write(file, random_weights("block4_conv1"))
    return str(file)


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_leaves_nothing(workspace, deep_weights, monkeypatch, case):
    arguments, message, *writers = BAD[case]
    monkeypatch.setenv("NSTJAX_WEIGHTS", deep_weights)
    for write in writers:
        write(workspace / "bad.png")
    before = sorted(workspace.rglob("*"))
    done = run_process(*arguments)
    assert done.returncode == 2, done.stderr
    lines = drop_import_times(done.stderr)
    assert len(lines) == 1 and lines[0].startswith("nstjax: "), lines
    assert re.search(message, lines[0]), lines[0]
    assert done.stdout == ""
    assert sorted(workspace.rglob("*")) == before
    assert not re.search(r"\| +jax$", done.stderr, re.MULTILINE), "jax was imported"


def test_weights_that_are_too_shallow_are_refused_before_anything_is_written(workspace, capsys):
    before = sorted(workspace.rglob("*"))
    assert main([*QUICK, "--layers", "style=relu3_1"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "block3_conv1" in error and "block2_conv1" in error
    assert sorted(workspace.rglob("*")) == before


def test_a_picture_too_large_for_memory_is_reported_before_step_0(workspace, capsys, monkeypatch):
    monkeypatch.setattr("nstjax.system.devices.available_memory", lambda: 300_000)
    assert main([*QUICK, "--out", "out"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    size = int(re.search(r"--size (\d+) would fit", line)[1])
    assert 8 <= size < 32
    assert not Path("out").exists()
    monkeypatch.setattr("nstjax.system.devices.available_memory", lambda: 300_000 * 4)
    assert main([*QUICK, "--out", "out", "--size", str(size)]) == 0


# What a run leaves.


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ("content.png", []),
        ("style.png", []),
        ("third.png", ["--blend", "third.png"]),
        ("start.png", ["--init", "start.png"]),
        ("mask.png", ["--content-mask", "mask.png", "--style-masks", "red"]),
        ("mask.png", ["--content-mask", "start.png", "--style-masks", "mask.png"]),
    ],
)
def test_a_result_never_replaces_what_the_run_was_given(workspace, capsys, given, options):
    shutil.copy("content.png", "third.png")
    shutil.copy("content.png", "start.png")
    if "--content-mask" in options:
        for name in ("content.png", "style.png", "mask.png", "start.png"):
            Image.new("RGB", (40, 30), "red").save(name)
    content = Path(given).read_bytes()
    Path("link.png").symlink_to(given)
    Path("HARD.png").hardlink_to(given)
    for name in (given, "link.png", "HARD.png"):
        assert main([*QUICK, *options, "--out", "out", "--save", name]) == 2
        assert f"--save {name} would write over a picture of the run" in capsys.readouterr().err
    if given == "content.png":  # all are recorded in the same way
        assert main([*QUICK, "--out", "out", "--steps", "1", "--save", "result.png"]) == 0
        assert main(["resume", "out", "--save", "result.png"]) == 0  # a former result
        assert main(["resume", "out", "--save", "link.png"]) == 2
    assert Path(given).read_bytes() == content


def test_names_of_any_bytes_are_printed_as_they_are(workspace):
    folder = "caf\udce9 [1]"
    assert main([*QUICK, "--out", folder, "--steps", "1"]) == 0
    done = subprocess.run(
        [sys.executable, "-m", "nstjax", "status", folder],
        capture_output=True,
        env={**os.environ, "LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "utf-8:strict"},
    )
    assert done.returncode == 0 and done.stdout.endswith(b"finished: caf\xe9 [1]/output.png\n")
    assert main(["resume", folder, "--steps", "2"]) == 0


def test_a_message_is_one_line_whatever_the_name(workspace, capsys):
    assert main(["status", "two\nlines"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("nstjax: no run in two\\nlines: expected a folder") and error.count("\n") == 1


def test_a_run_of_pictures_with_long_names(workspace, capsys):
    content, style = "ä" * 100 + ".png", "b" * 200 + ".png"
    Path("content.png").rename(content)
    Path("style.png").rename(style)
    assert main(["run", content, style, *QUICK[3:], "--steps", "1", "--quiet"]) == 0
    (folder,) = Path("runs").iterdir()
    assert re.fullmatch("ä{20,}-b{40,}-[0-9a-f]{8}-1", folder.name)
    assert main(["resume", str(folder), "--steps", "2", "--quiet"]) == 0


def test_a_run_leaves_its_folder(workspace, capsys):
    assert main([*QUICK, "--out", "out", "--snapshots", "0,3,8", "--log-every", "3", "--save", "mine.webp"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "picture: mine.webp\nrun: out\n"
    files = {str(path.relative_to("out")) for path in Path("out").rglob("*") if path.is_file()}
    files = sorted(path for path in files if not path.startswith("checkpoints/8/"))
    inputs = [f"inputs/{name}" for name in ("content.npy", "experiment.py", "sources.json", "start.npy", "style.npy")]
    snapshots = [f"snapshots/{step:06d}.png" for step in (0, 3, 8)]
    written = ["config.json", "curves.svg", *inputs, "metrics.jsonl", "output.png", "report.html", "sheet.png"]
    assert files == [".lock", *written, *snapshots]
    metrics = [json.loads(line) for line in Path("out/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in metrics] == [0, 3, 6, 7]
    for line in metrics:
        # In float32 on the device, in float64 here.
        total = line["content"] + line["style"] + 0.1 * line["tv"]
        np.testing.assert_allclose(line["total"], total, rtol=1e-5)
        assert line["seconds_per_step"] > 0 and line["cpu_seconds"] > 0
    assert metrics[-1]["total"] < metrics[0]["total"]
    printed = [line for line in captured.err.splitlines() if line.startswith("step ")]
    assert len(printed) == 4
    assert all(f"total {line['total']:.5g}" in text for line, text in zip(metrics, printed, strict=True))
    record = json.loads(Path("out/config.json").read_text())
    assert record["config"]["steps"] == [8] and record["config"]["pooling"] == "max"
    assert record["weights"]["deepest"] == "block2_conv1" and len(record["weights"]["sha256"]) == 64
    with Image.open("out/output.png") as output:
        # Pictures are passed on, so they contain no path of this machine.
        record["config"]["weights"] = "vgg.safetensors"
        assert output.size == (32, 24) and json.loads(output.text["nstjax"]) == record
    assert Path("out/inputs/experiment.py").read_text() == EXPERIMENT
    np.testing.assert_array_equal(images.read("mine.webp").rgb, images.read("out/output.png").rgb)


def test_the_same_run_gives_the_same_bytes_in_another_process(workspace):
    assert main([*QUICK, "--out", "one", "--init", "noise", "--seed", "3"]) == 0
    done = run_process(*QUICK, "--out", "two", "--init", "noise", "--seed", "3")
    assert done.returncode == 0, done.stderr
    assert Path("one/output.png").read_bytes() == Path("two/output.png").read_bytes()


def test_a_folder_with_a_run_is_not_overwritten(workspace, capsys):
    assert main([*QUICK, "--out", "out"]) == 0
    before = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*")}
    assert main([*QUICK, "--out", "out"]) == 2
    assert "already holds a run" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in Path("out").rglob("*")} == before


def test_a_file_that_a_kill_left_does_not_take_the_folder(workspace):
    Path("out").mkdir()
    Path("out/.0123456789abcdef.part").touch()
    assert main([*QUICK, "--out", "out"]) == 0


def test_runs_without_a_name_are_numbered_and_say_where_they_are_before_they_compile(workspace, capsys):
    assert main(QUICK) == 0
    assert capsys.readouterr().err.startswith("writing to runs/content-style-1\ncompiling\n")
    assert main([*QUICK, "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    assert sorted(path.name for path in Path("runs").iterdir()) == ["content-style-1", "content-style-2"]


def test_the_result_has_the_alpha_of_the_content(workspace):
    rgba = np.dstack([smooth_picture(30, 40), np.linspace(0.2, 1, 40 * 30).reshape(30, 40)])
    Image.fromarray(np.uint8(rgba * 255)).save("content.png")
    assert main([*QUICK, "--out", "out", "--size", "none"]) == 0
    with Image.open("out/output.png") as output:
        assert output.mode == "RGBA" and output.size == (40, 30)
        np.testing.assert_array_equal(np.asarray(output)[..., 3], np.uint8(rgba * 255)[..., 3])


@pytest.mark.parametrize(
    "options",
    [
        ["--init", "style.png", "--size", "24", "--style-scale", "0.5"],
        ["--parameterisation", "fourier", "--match-colour", "content", "--pooling", "average", "--padding", "edge"],
        [
            *("--init", "noise", "--clamp", "--dtype", "bfloat16"),
            *("--schedule", "cosine", "--schedule-end", "0.1", "--horizon", "20"),
        ],
        [
            *("--init", "style-statistics", "--keep", "best", "--style-weight", "5"),
            *("--loss-weights", "tv=0,content=2", "--layers", "style=conv1_2;content=pool1"),
        ],
        ["--steps", "0"],
    ],
)
def test_every_setting_runs(workspace, options):
    if options[:2] == ["--init", "style.png"]:
        images.save("style.png", smooth_picture(60, 80, seed=1))
    assert main([*QUICK, "--out", "out", "--steps", "3", *options]) == 0
    assert images.read("out/output.png").rgb.std() > 0


def test_a_start_of_another_shape_is_refused(workspace, capsys):
    assert main([*QUICK, "--init", "style.png"]) == 2
    assert "another shape" in capsys.readouterr().err


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step(workspace, capsys):
    assert main([*QUICK, "--out", "out", "--learning-rate", "1e30", "--log-every", "1"]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert re.search(r"not finite at step [1-9] \(total .*\): try a lower learning rate", error)
    assert Path("out/output.png").exists()
    last = json.loads(Path("out/metrics.jsonl").read_text().splitlines()[-1], parse_constant=pytest.fail)
    assert last["total"] is None


BROKEN = {
    "in terms": ("    gram, same", "    gram = wrong\n    gram, same", r"line 12: NameError: name 'wrong'"),
    "in a distance": ("nstjax.layer_sum(style)", "(lambda x, t: x + t)", r"line 16, in the term 'style': TypeError"),
    "no scalar": (
        "nstjax.layer_sum(style)",
        "(lambda x, t: x['relu1_1'])",
        r"line 16\) must return a scalar, not an array",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_mistake_in_an_experiment_is_one_line_with_its_place(workspace, capsys, unchecked_types, case):
    old, new, message = BROKEN[case]
    assert old in EXPERIMENT
    Path("quick.py").write_text(EXPERIMENT.replace(old, new))
    assert main([*QUICK, "--out", "out", "--quiet"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and re.search(message, error), error
    assert not Path("out").exists()


def test_a_shortened_run_keeps_the_snapshots_it_reaches(workspace):
    text = EXPERIMENT.replace("steps=8,", "steps=8,\n    snapshots=(2, 8),")
    Path("quick.py").write_text(text)
    assert main([*QUICK, "--out", "out", "--steps", "4"]) == 0
    assert [path.name for path in Path("out/snapshots").iterdir()] == ["000002.png"]
    assert main([*QUICK, "--out", "none", "--snapshots", "none"]) == 0
    assert not Path("none/snapshots").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_run_after_its_steps(workspace, number, code):
    command = [sys.executable, "-m", "nstjax", *QUICK, "--out", "out", "--steps", "1000000", "--log-every", "10"]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    metrics = Path("out/metrics.jsonl")
    for _ in range(600):
        if metrics.exists() and metrics.read_text().count("\n") > 1:
            break
        time.sleep(0.1)
    start = time.monotonic()
    run.send_signal(number)
    out, err = run.communicate(timeout=60)
    assert run.returncode == code, err
    assert time.monotonic() - start < 10
    assert "picture: out/output.png" in out
    assert re.search(r"stopped after [\d,]+ of 1,000,000 steps; to go on: nstjax resume out\n$", err)
    assert images.read("out/output.png").rgb.shape == (24, 32, 3)


# The other commands.


def test_presets_and_devices(capsys):
    assert main(["presets"]) == 0
    assert re.search(r"^default +\S", capsys.readouterr().out, re.MULTILINE)
    assert main(["devices"]) == 0
    assert "cpu" in capsys.readouterr().out


def test_weights_commands(workspace, capsys):
    assert main(["weights", "list"]) == 0
    assert "keras" in capsys.readouterr().out
    assert main(["weights", "path"]) == 0
    assert capsys.readouterr().out.strip().endswith("nstjax/weights")
    assert main(["weights", "verify", "vgg.safetensors"]) == 0
    assert "block1_conv1 to block2_conv1" in capsys.readouterr().out


def test_help_lists_every_setting(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["run", "--help"])
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for field in dataclasses.fields(Config):
        option = "--" + field.name.replace("_", "-")
        assert f" {option} " in text or f" {option}, " in text, option
        assert f" {field.metadata['group']}: " in text
    assert "How to match colours: monge, cholesky, pca or histogram (default: monge)" in text
    assert f"(default: {images.PIXEL_LIMIT:,})" in text


@pytest.mark.parametrize("command", ["run", "sweep"])
def test_every_option_for_a_setting_says_its_default(command):
    parser = argparse.ArgumentParser()
    options.add(parser, several=command == "sweep")
    for action in parser._actions[1:]:
        assert action.help and re.search(r"\(default: .+\)$", action.help), action.option_strings


def test_options_are_not_abbreviated(workspace, capsys):
    for option in ("--blend-share", "--style-weights", "--style-mask"):
        assert main([*QUICK, option, "1,1"]) == 2
        assert f"unknown argument {option}" in capsys.readouterr().err
