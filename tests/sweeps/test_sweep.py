"""Many runs at a time are the runs, one at a time."""

import csv
import dataclasses
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import smooth_picture
from quick_run import TOLERANCE, StopAt, losses

import nstjax
from nstjax import images
from nstjax.callbacks import Listener
from nstjax.cli import main
from nstjax.experiment.experiment import load
from nstjax.experiment.inputs import prepare
from nstjax.experiment.resolve import resolve, varied
from nstjax.storage.run_folder import RunFolder
from nstjax.sweeps import sweep
from nstjax.sweeps.batch import Members

COMMON = {"experiment": "quick.py", "weights": "vgg.safetensors", "steps": 8}
SWEEP = [
    "sweep",
    "content.png",
    "style.png",
    "--experiment",
    "quick.py",
    "--weights",
    "vgg.safetensors",
    "--steps",
    "8",
]


def pixels(folder):
    return {path.parent.name: images.read(path).rgb for path in Path(folder).glob("members/*/output.png")}


def content_of(folder):
    """Everything that a resume must not change: pictures, snapshots, losses."""
    found = {}
    for path in sorted(Path(folder).glob("members/*/*.png")) + sorted(Path(folder).glob("members/*/snapshots/*")):
        found[str(path.relative_to(folder))] = path.read_bytes()
    for path in sorted(Path(folder).glob("members/*/metrics.jsonl")):
        found[str(path.relative_to(folder))] = losses(path.parent)
    return found


def test_members_are_the_single_runs(place):
    vary = {"style": [1.0, 50.0], "learning_rate": [0.02, 0.05]}
    result = nstjax.sweep("content.png", "style.png", vary=vary, init_noise=0.1, **COMMON)
    assert len(result.members) == 4 and result.finished and result.folder is None
    for assignment, member in zip(result.assignments, result.members, strict=True):
        single = nstjax.stylize(
            "content.png",
            "style.png",
            loss_weights={"style": assignment["style"]},
            learning_rate=assignment["learning_rate"],
            init_noise=0.1,
            **COMMON,
        )
        np.testing.assert_allclose(member.picture, single.picture, atol=TOLERANCE)
        np.testing.assert_allclose(member.metrics["total"], single.metrics["total"], rtol=1e-3)
        assert member.record["config"] == single.record["config"]
    pictures = [it.picture for it in result.members]
    assert all(np.abs(a - b).max() > 0.01 for i, a in enumerate(pictures) for b in pictures[:i])


def test_seeds_and_noise_vary_the_start(place):
    vary = {"seed": [0, 1], "init_noise": [0.0, 0.5, 1.0]}
    found = nstjax.sweep("content.png", "style.png", vary=vary, **{**COMMON, "steps": 0})
    starts = [it.picture for it in found.members]
    content = prepare("content.png", "style.png", load("quick.py").config).content
    np.testing.assert_array_equal(starts[0], content)
    np.testing.assert_array_equal(starts[3], content)
    assert np.abs(starts[1] - starts[4]).max() > 0.1
    np.testing.assert_allclose(starts[1], (content + starts[2]) / 2, atol=1e-6)


def test_several_pictures(place):
    images.save("other.png", smooth_picture(36, 28, seed=7))
    images.save("more.png", smooth_picture(30, 40, seed=8))
    result = nstjax.sweep(["content.png", "more.png"], ["style.png", "other.png"], vary={}, **COMMON)
    assert [it["style picture"] for it in result.assignments] == ["style", "other"] * 2
    for assignment, member in zip(result.assignments, result.members, strict=True):
        single = nstjax.stylize(assignment["content picture"] + ".png", assignment["style picture"] + ".png", **COMMON)
        np.testing.assert_allclose(member.picture, single.picture, atol=TOLERANCE)


def checkpoints_of(folder):
    """The newest of each group."""
    return [
        max(map(int, names), default=0)
        for names in ([it.name for it in group.glob("checkpoints/[0-9]*")] for group in Path(folder).glob("groups/*"))
    ]


def test_one_learnt_network_serves_all_pictures_and_that_is_said(place):
    images.save("other.png", smooth_picture(36, 28, seed=7))
    common = {**COMMON, "steps": 1, "weights": "self-taught"}
    with pytest.warns(UserWarning, match="learnt from the first two pictures, and serves all"):
        found = nstjax.sweep("content.png", ["style.png", "other.png"], vary={}, **common)
    assert len({it.record["weights"]["sha256"] for it in found.members}) == 1


def members_of(count, devices=None, **changes):
    experiment = load("quick.py").replace(weights="vgg.safetensors", **changes)
    inputs = prepare("content.png", "style.png", experiment.config)
    first = resolve(experiment, inputs, Listener())
    weights = [{"loss_weights": {"style": float(10 + it)}} for it in range(count)]
    runs = [varied(first, experiment, inputs, it) for it in weights]
    return Members(runs, [inputs] * count, devices or jax.local_devices())


def test_what_members_share_is_there_once(place):
    one, eight = (members_of(it).compile(it).memory_analysis().argument_size_in_bytes for it in (1, 8))
    picture = 24 * 32 * 3 * 4
    # Of each member: its picture, the one before, Adam's two moments, and some numbers.
    assert 7 * 4 * picture < eight - one < 7 * (4 * picture + 200)
    assert one > 3 * 3 * 64 * 64 * 4  # the network is among the arguments


def test_other_weights_compile_nothing(place):
    members = members_of(2)
    state, made = members.first_state([0, 1]), members.program([0, 1])
    problems = [
        dataclasses.replace(made.problem, weights={name: scale * it for name, it in made.problem.weights.items()})
        for scale in (1, 10, 100)
    ]
    compilations = []
    jax.monitoring.register_event_duration_secs_listener(lambda name, *_, **__: compilations.append(name))
    for problem in problems:
        state, _ = made.chunk(state, problem, np.int32(2))
    assert np.asarray(state.step).tolist() == [6, 6]
    assert not [name for name in compilations if "compile" in name]
    members.first_state([1, 0]), members_of(2).compile(2)
    assert [name for name in compilations if "compile" in name]  # else the count would count nothing


def test_a_member_that_diverges_harms_no_other(place):
    vary = {"learning_rate": [0.02, 1e30]}
    with pytest.warns(UserWarning, match="not finite"):
        found = nstjax.sweep("content.png", "style.png", vary=vary, log_every=1, out="out", **COMMON)
    good, bad = found.members
    assert good.steps == 8 and not good.diverged and bad.diverged and bad.steps < 8 and found.finished
    single = nstjax.stylize("content.png", "style.png", **COMMON)
    np.testing.assert_allclose(good.picture, single.picture, atol=TOLERANCE)
    lines = Path("out/members/learning_rate=1e+30/metrics.jsonl").read_text().splitlines()
    assert len(lines) == bad.steps + 1


# The command.


def test_a_sweep_leaves_its_folder(place, capsys):
    assert main([*SWEEP, "--style-weight", "1", "10", "100", "--tv-weight", "0.1", "0.2", "--out", "out"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "page: out/report.html\nsweep: out\n"
    assert "6 members, 6 at a time, on one device" in captured.err
    names = sorted(path.name for path in Path("out/members").iterdir())
    assert names == sorted(f"style={style},tv={tv}" for style in (1, 10, 100) for tv in (0.1, 0.2))
    for name in names:
        member = RunFolder(f"out/members/{name}")
        assert member.read_record()["config"]["loss_weights"]["style"] == float(name.split("=")[1].split(",")[0])
        assert (member.path / "report.html").exists() and member.output.exists()
        assert main(["status", str(member.path)]) == 0
    assert {path.name for path in Path("out").iterdir()} == {
        *("sweep.json", "members", "groups", "grid.png", "table.csv", "report.html")
    }
    with open("out/table.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["style weight"] for line in lines] == ["1.0", "1.0", "10.0", "10.0", "100.0", "100.0"]
    for line in lines:
        last = json.loads(Path("out/members", line["member"], "metrics.jsonl").read_text().splitlines()[-1])
        assert {it: float(line[it]) for it in ("total", "content", "style", "tv")} == {
            it: last[it] for it in ("total", "content", "style", "tv")
        }
    page = Path("out/report.html").read_text()
    assert all(f'href="members/{name}/report.html"' in page for name in names)
    assert main(["status", "out"]) == 0
    assert "6 of 6 members are finished" in capsys.readouterr().out
    assert main([*SWEEP, "--style-weight", "1", "2", "--out", "out"]) == 2
    assert "already holds a sweep" in capsys.readouterr().err


BAD = {
    "an unknown term": (["--vary", "stile=1,2"], "no term 'stile'"),
    "a weight that is no number": (["--style-weight", "1", "nan"], "must be a finite number, not nan"),
    "a negative size": (["--size", "-3"], "size must be at least 1"),
    "values that cannot be paired": (["--zip", "--style-weight", "1", "2", "--seed", "1", "2", "3"], "as many of each"),
    "a value twice": (["--style-weight", "1", "1"], "a value twice"),
    "a group of nothing": (["--style-weight", "1", "2", "--group-size", "0"], "group-size must be at least 1"),
    "too much noise": (["--init-noise", "0.5", "2"], "init-noise must be at most 1"),
    "content pictures of two sizes": (["--more-contents", "style.png"], "must be of one size"),
    "a missing picture": (["--more-styles", "nowhere.png"], "nowhere.png"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_values_are_one_line_before_anything_is_compiled(place, capsys, monkeypatch, case):
    arguments, message = BAD[case]
    monkeypatch.setattr("nstjax.sweeps.batch.Members.compile", lambda *arguments: pytest.fail("compiled"))
    before = sorted(place.rglob("*"))
    assert main([*SWEEP, *arguments, "--out", "out", "--quiet"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and message in error, error
    assert sorted(place.rglob("*")) == before


def test_as_many_at_a_time_as_fit(place, capsys, monkeypatch):
    members = members_of(2)
    one, two = (members.needed_memory(members.compile(it)) for it in (1, 2))
    monkeypatch.setattr("nstjax.system.devices.free_memory", lambda: int((one + 2.5 * (two - one)) / 0.9))
    arguments = [*SWEEP, "--style-weight", "1", "2", "3", "4", "5", "6", "7"]
    assert main([*arguments, "--out", "out"]) == 0
    assert "7 members, 3 at a time" in capsys.readouterr().err
    assert sorted(path.name for path in Path("out/groups").iterdir()) == ["0000-3", "0003-3", "0006-3"]
    monkeypatch.setattr("nstjax.system.devices.free_memory", lambda: int(0.5 * one))
    assert main([*arguments, "--out", "none"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "GiB of memory" in error and "would fit" in error and not Path("none").exists()
    assert main([*arguments, "--out", "two", "--group-size", "4"]) == 0
    assert "7 members, 4 at a time" in capsys.readouterr().err


# Resuming.


@pytest.fixture
def swept(place):
    """(a finished sweep's folder, the folder of the same one that was stopped in the middle)"""
    options = {"vary": {"style": [1.0, 10.0, 100.0]}, "group_size": 2, "snapshots": (3,), "log_every": 2}
    nstjax.sweep("content.png", "style.png", out="whole", **options, **COMMON)
    found = nstjax.sweep("content.png", "style.png", out="parts", listener=StopAt(3), **options, **COMMON)
    assert not found.finished and found.members[0].steps == 3 and found.members[2] is None
    return Path("whole"), Path("parts")


def test_a_resumed_sweep_is_the_one_that_was_not_stopped(swept, capsys):
    whole, parts = swept
    assert main(["resume", "parts"]) == 0
    assert content_of(parts) == content_of(whole)
    assert (parts / "grid.png").read_bytes() == (whole / "grid.png").read_bytes()


def test_a_sweep_that_is_killed_again_and_again_is_the_one_that_was_not(place):
    options = ["--style-weight", "1", "10", "100", "--group-size", "2", "--checkpoint-every", "3", "--snapshots", "5"]
    arguments = [*SWEEP, *options, "--steps", "60", "--horizon", "60", "--log-every", "7"]
    assert main([*arguments, "--out", "whole"]) == 0
    command, kills, seen = [*arguments, "--out", "killed"], 0, 0
    while True:
        process = subprocess.Popen([sys.executable, "-m", "nstjax", *command], stderr=subprocess.PIPE)
        # Killed when it has written two more checkpoints.
        while process.poll() is None and sum(made := checkpoints_of("killed")) < seen + 6:
            time.sleep(0.002)
        process.kill()
        process.communicate()
        if process.returncode == 0:
            break
        kills, seen = kills + 1, sum(made)
        if Path("killed/sweep.json").exists():
            command = ["resume", "killed"]
    assert kills >= 3
    assert content_of("killed") == content_of("whole")
    assert Path("killed/grid.png").read_bytes() == Path("whole/grid.png").read_bytes()


def test_a_sweep_is_extended(swept):
    whole, parts = swept
    assert sweep.resume("whole", steps=12).finished
    assert sweep.resume("parts", steps=12).finished
    extended, straight = content_of(whole), content_of(parts)
    for name, it in extended.items():
        # The last step of the shorter sweep was logged, too.
        assert straight[name] == ([line for line in it if line["step"] != 7] if name.endswith("jsonl") else it)
    assert RunFolder(next(parts.glob("members/*"))).read_record()["config"]["steps"] == 12


def test_a_member_is_taken_out_and_the_sweep_goes_on_without_it(swept, capsys):
    whole, parts = swept
    member = parts / "members" / "style=10"
    assert main(["resume", str(member)]) == 0
    assert "taken out of its sweep at step 3" in capsys.readouterr().err
    record = RunFolder(member).read_record()
    assert record["taken_out"]["step"] == 3 and "sweep" not in record
    np.testing.assert_allclose(
        images.read(member / "output.png").rgb,
        images.read(whole / "members" / "style=10" / "output.png").rgb,
        atol=TOLERANCE,
    )
    before = (member / "output.png").read_bytes(), (member / "metrics.jsonl").read_bytes()
    assert main(["resume", str(member), "--steps", "11"]) == 0
    after = (member / "output.png").read_bytes(), (member / "metrics.jsonl").read_bytes()
    assert after != before
    assert main(["resume", "parts"]) == 0
    assert ((member / "output.png").read_bytes(), (member / "metrics.jsonl").read_bytes()) == after
    others = {name: it for name, it in content_of(whole).items() if "style=10/" not in name}
    assert {name: it for name, it in content_of(parts).items() if "style=10/" not in name} == others


def test_what_was_changed_is_refused(swept, capsys):
    _, parts = swept
    shutil.copytree(parts, "edited")
    index = Path("edited/sweep.json")
    index.write_text(index.read_text().replace("100.0", "200.0"))
    assert main(["resume", "edited"]) == 2
    assert "was changed after the sweep began" in capsys.readouterr().err
    for seal in parts.glob("groups/0000-2/checkpoints/*/seal.json"):
        seal.write_bytes(b"")
    assert main(["resume", "parts"]) == 1
    assert "all checkpoints in" in capsys.readouterr().err


def test_a_group_that_runs_out_of_memory_goes_on_in_halves(place, capsys, monkeypatch):
    """As a GPU does whose estimate was wrong: from the last checkpoint, to the same pictures."""
    arguments = [*SWEEP, "--style-weight", "1", "10", "100", "--init", "noise", "--checkpoint-every", "2"]
    assert main([*arguments, "--out", "whole"]) == 0
    whole = pixels("whole")
    program = Members.program

    def short_of_memory(self, members):
        made = program(self, members)

        def chunk(state, problem, steps):
            if len(members) > 2 and np.asarray(state.step).max() >= 4:
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes")
            return made.chunk(state, problem, steps)

        return dataclasses.replace(made, chunk=chunk)

    monkeypatch.setattr(Members, "program", short_of_memory)
    capsys.readouterr()
    assert main([*arguments, "--out", "out"]) == 0
    said = capsys.readouterr().err
    assert "out of memory with 3 members at a time: going on with 2" in said
    assert said.count("going on from step 4 of 8") == 2, said
    assert sorted(path.name for path in Path("out/groups").iterdir()) == ["0000-2", "0002-2"]
    for name, picture in pixels("out").items():
        np.testing.assert_allclose(picture, whole[name], atol=2 * TOLERANCE)
    assert main(["resume", "out", "--steps", "10"]) == 0

    def full(*arguments):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")

    monkeypatch.setattr(Members, "program", lambda *it: dataclasses.replace(program(*it), chunk=full))
    assert main([*arguments, "--out", "none", "--group-size", "1"]) == 1
    assert "out of memory with one member at a time" in capsys.readouterr().err.splitlines()[-1]
