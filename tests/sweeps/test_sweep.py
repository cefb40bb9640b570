"""Sweeps: many runs at a time equal the runs one at a time."""

import contextlib
import csv
import dataclasses
import errno
import json
import re
import shutil
from pathlib import Path
from urllib.parse import unquote

import jax
import numpy as np
import pytest
from conftest import fill_workspace, smooth_picture
from quick_run import StopAt, assert_same_run, read_losses

import nstjax
from nstjax import images
from nstjax.callbacks import Listener
from nstjax.cli import main
from nstjax.experiment.choice import settle
from nstjax.experiment.experiment import load
from nstjax.experiment.inputs import prepare
from nstjax.experiment.record import extend
from nstjax.experiment.resolve import resolve, vary_run
from nstjax.storage.checkpoints import Checkpoints
from nstjax.storage.contents import checkpoint_steps
from nstjax.storage.run_folder import RunFolder
from nstjax.storage.sweep_folder import SweepFolder
from nstjax.sweeps import batch, sweep
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


LONG = "x" * 240


def test_a_sweep_with_names_of_any_letters_and_lengths_survives_a_failed_write(workspace, capsys, monkeypatch):
    styles = [f"{LONG}1.png", f"{LONG}2[1]\udce9\n.png"]
    for name in styles:
        shutil.copy("style.png", name)
    put_in_place, calls = Checkpoints._put_in_place, []

    def fail_once(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise OSError(errno.ESTALE, "Stale file handle")
        put_in_place(*arguments)

    monkeypatch.setattr(Checkpoints, "_put_in_place", fail_once)
    arguments = [*SWEEP[:2], styles[0], *SWEEP[3:], "--more-styles", styles[1], "--checkpoint-every", "4", "--quiet"]
    assert main([*arguments, "--out", "sweep[1]"]) == 0
    (warning,) = capsys.readouterr().err.splitlines()
    assert re.match(
        r"nstjax: warning: cannot write the checkpoint of step 4 .*Stale file handle; trying again", warning
    )
    members = [path.name for path in Path("sweep[1]/members").iterdir()]
    assert len(members) == 2 and all(name.startswith("style=xxx") and len(name) <= 240 for name in members)
    page = Path("sweep[1]/report.html").read_text()
    assert {unquote(address) for address in re.findall('href="([^"]*)"', page)} == {
        f"members/{name}/report.html" for name in members
    }
    assert main(["resume", "sweep[1]", "--steps", "9", "--quiet"]) == 0 and capsys.readouterr().err == ""


def read_pixels(folder):
    return {path.parent.name: images.read(path).rgb for path in Path(folder).glob("members/*/output.png")}


def read_content(folder):
    """Read everything that a resume must not change: pictures, snapshots, losses."""
    content = {}
    for path in sorted(Path(folder).glob("members/*/*.png")) + sorted(Path(folder).glob("members/*/snapshots/*")):
        content[str(path.relative_to(folder))] = path.read_bytes()
    for path in sorted(Path(folder).glob("members/*/metrics.jsonl")):
        content[str(path.relative_to(folder))] = read_losses(path.parent)
    return content


def test_members_equal_the_single_runs(workspace):
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
        assert_same_run(member.picture, single.picture)
        np.testing.assert_allclose(member.metrics["total"], single.metrics["total"], rtol=1e-3)
        assert member.record["config"] == single.record["config"]
    pictures = [member.picture for member in result.members]
    assert all(np.abs(a - b).max() > 0.01 for i, a in enumerate(pictures) for b in pictures[:i])


def test_seeds_and_noise_vary_the_start(workspace):
    vary = {"seed": [0, 1], "init_noise": [0.0, 0.5, 1.0]}
    result = nstjax.sweep("content.png", "style.png", vary=vary, **{**COMMON, "steps": 0})
    starts = [member.picture for member in result.members]
    content = prepare("content.png", "style.png", load("quick.py").config).content
    np.testing.assert_array_equal(starts[0], content)
    np.testing.assert_array_equal(starts[3], content)
    assert np.abs(starts[1] - starts[4]).max() > 0.1
    np.testing.assert_allclose(starts[1], (content + starts[2]) / 2, atol=1e-6)


def test_pictures_are_combined(workspace):
    images.save("other.png", smooth_picture(36, 28, seed=7))
    images.save("more.png", smooth_picture(30, 40, seed=8))
    result = nstjax.sweep(["content.png", "more.png"], ["style.png", "other.png"], vary={}, **COMMON)
    assert [assignment["style picture"] for assignment in result.assignments] == ["style", "other"] * 2
    for assignment, member in zip(result.assignments, result.members, strict=True):
        single = nstjax.stylize(assignment["content picture"] + ".png", assignment["style picture"] + ".png", **COMMON)
        assert_same_run(member.picture, single.picture)


def find_newest_checkpoints(folder):
    """Return the step of the newest checkpoint of each group."""
    return [
        max((int(path.name) for path in group.glob("checkpoints/[0-9]*")), default=0)
        for group in Path(folder).glob("groups/*")
    ]


def test_one_learnt_network_is_used_for_all_pictures_with_a_warning(workspace, quick_learning):
    images.save("other.png", smooth_picture(36, 28, seed=7))
    common = {**COMMON, "steps": 1, "weights": "self-taught"}
    with pytest.warns(UserWarning, match="learnt from the first two pictures and used for all"):
        result = nstjax.sweep("content.png", ["style.png", "other.png"], vary={}, **common)
    assert len({member.record["weights"]["sha256"] for member in result.members}) == 1


def make_members(count, devices=None, **changes):
    experiment = load("quick.py").replace(weights="vgg.safetensors", **changes)
    inputs = prepare("content.png", "style.png", experiment.config)
    first = resolve(*settle(experiment, Listener()), inputs, Listener())
    changes = [{"loss_weights": {"style": float(10 + k)}} for k in range(count)]
    runs = [vary_run(first, experiment, inputs, change) for change in changes]
    return Members(runs, [inputs] * count, devices or jax.local_devices())


def test_what_members_share_is_in_memory_once(workspace):
    one, eight = (make_members(k).compile(k).memory_analysis().argument_size_in_bytes for k in (1, 8))
    picture = 24 * 32 * 3 * 4
    # A member adds its picture, the one before, Adam's two moments, and some numbers.
    assert 7 * 4 * picture < eight - one < 7 * (4 * picture + 200)
    assert one > 3 * 3 * 64 * 64 * 4  # the network is among the arguments


def test_other_weights_compile_nothing(workspace):
    members = make_members(2)
    state, program = members.make_initial_state([0, 1]), members.make_program([0, 1])
    weights = program.problem.loss_weights
    problems = [
        dataclasses.replace(program.problem, loss_weights={name: scale * value for name, value in weights.items()})
        for scale in (1, 10, 100)
    ]
    compilations = []
    jax.monitoring.register_event_duration_secs_listener(lambda name, *_, **__: compilations.append(name))
    for problem in problems:
        state, _ = program.chunk(state, problem, np.int32(2))
    assert np.asarray(state.step).tolist() == [6, 6]
    assert not [name for name in compilations if "compile" in name]
    members.make_initial_state([1, 0]), make_members(2).compile(2)
    assert [name for name in compilations if "compile" in name]  # proves that compilations are seen


def test_a_diverging_member_does_not_harm_the_others(workspace):
    vary = {"learning_rate": [0.02, 1e30]}
    with pytest.warns(UserWarning, match="not finite"):
        result = nstjax.sweep("content.png", "style.png", vary=vary, log_every=1, out="out", **COMMON)
    good, bad = result.members
    assert good.steps == 8 and not good.diverged and bad.diverged and bad.steps < 8 and result.finished
    single = nstjax.stylize("content.png", "style.png", **COMMON)
    assert_same_run(good.picture, single.picture)
    lines = Path("out/members/learning_rate=1e+30/metrics.jsonl").read_text().splitlines()
    assert len(lines) == bad.steps + 1


def test_a_member_whose_step_is_tried_again_catches_up_with_the_others(workspace):
    """It starts next to its minimum, so its first step seems to diverge."""
    options = {**COMMON, "loss_weights": {"tv": 0.0}, "init_deviation": 1e-4}
    result = nstjax.sweep("content.png", ["style.png", "content.png"], vary={}, log_every=1, out="out", **options)
    assert [member.steps for member in result.members] == [8, 8] and result.finished
    for style, member in zip(("style.png", "content.png"), result.members, strict=True):
        single = nstjax.stylize("content.png", style, **options)
        assert_same_run(member.picture, single.picture)
        assert member.metrics["step"].tolist() == list(range(8))
    assert member.metrics["total"].max() > 1000 * member.metrics["total"][0]


def test_a_sweep_with_a_diverged_member_can_be_extended(workspace):
    vary = {"learning_rate": [0.02, 1e30]}
    with pytest.warns(UserWarning, match="not finite"):
        nstjax.sweep("content.png", "style.png", vary=vary, out="out", **COMMON)
    with pytest.warns(UserWarning, match="not finite"):
        good, bad = sweep.resume("out", steps=12).members
    assert (good.steps, good.diverged) == (12, False) and bad.diverged


# The command line.


def test_a_sweep_writes_its_folder(workspace, capsys):
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
        *(".lock", "sweep.json", "members", "groups", "grid.png", "table.csv", "report.html")
    }
    with open("out/table.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["style weight"] for line in lines] == ["1.0", "1.0", "10.0", "10.0", "100.0", "100.0"]
    for line in lines:
        last = json.loads(Path("out/members", line["member"], "metrics.jsonl").read_text().splitlines()[-1])
        for name in ("total", "content", "style", "tv"):
            assert float(line[name]) == last[name]
    page = Path("out/report.html").read_text()
    assert all(f'href="members/{name}/report.html"' in page for name in names)
    assert main(["status", "out"]) == 0
    assert "6 of 6 members are finished" in capsys.readouterr().out
    assert main([*SWEEP, "--style-weight", "1", "2", "--out", "out"]) == 2
    assert "already holds a sweep" in capsys.readouterr().err


def test_a_folder_that_another_sweep_takes_while_this_one_compiles_is_left_alone(workspace, capsys, monkeypatch):
    choose, others = batch.choose_group_size, []

    def begin_another_sweep_first(*arguments, **options):
        if not others:
            others.append(None)
            assert main([*SWEEP, "--style-weight", "5", "6", "--out", "out"]) == 0
        return choose(*arguments, **options)

    monkeypatch.setattr(sweep, "choose_group_size", begin_another_sweep_first)
    assert main([*SWEEP, "--style-weight", "5", "6", "--learning-rate", "0.5", "--out", "out"]) == 2
    assert "already holds a sweep" in capsys.readouterr().err
    rates = [RunFolder(path).read_record()["config"]["learning_rate"] for path in Path("out/members").iterdir()]
    assert rates == [0.02, 0.02]
    assert main(["resume", "out"]) == 0


BAD = {
    "an unknown term": (["--vary", "stile=1,2"], "no term 'stile'"),
    "a term varied twice": (["--vary", "style=1", "style=2"], "style is varied twice"),
    "a term without values": (["--vary", "style", "1"], "expected TERM=W,W,… as in style=1,10,100"),
    "a weight that is no number": (["--style-weight", "1", "nan"], "must be a finite number, not nan"),
    "a negative size": (["--size", "-3"], "size must be at least 1"),
    "values that cannot be paired": (
        ["--zip", "--style-weight", "1", "2", "--seed", "1", "2", "3"],
        "the same number of each",
    ),
    "a value twice": (["--style-weight", "1", "1"], "a value twice"),
    "a group of nothing": (["--style-weight", "1", "2", "--group-size", "0"], "group-size must be at least 1"),
    "too much noise": (["--init-noise", "0.5", "2"], "init-noise must be at most 1"),
    "content pictures of two sizes": (["--more-contents", "style.png"], "must be of one size"),
    "a missing picture": (["--more-styles", "nowhere.png"], "nowhere.png"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_values_are_refused_in_one_line_before_compiling(workspace, capsys, monkeypatch, case):
    arguments, message = BAD[case]
    monkeypatch.setattr("nstjax.sweeps.batch.Members.compile", lambda *arguments: pytest.fail("compiled"))
    before = sorted(workspace.rglob("*"))
    assert main([*SWEEP, *arguments, "--out", "out", "--quiet"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and message in error, error
    assert sorted(workspace.rglob("*")) == before


def test_as_many_members_at_a_time_as_fit_into_memory(workspace, capsys, monkeypatch):
    members = make_members(2)
    one, two = (members.measure_memory(members.compile(k)) for k in (1, 2))
    monkeypatch.setattr("nstjax.system.devices.available_memory", lambda: int((one + 2.5 * (two - one)) / 0.9))
    arguments = [*SWEEP, "--style-weight", "1", "2", "3", "4", "5"]
    assert main([*arguments, "--out", "out"]) == 0
    assert "5 members, 3 at a time" in capsys.readouterr().err
    assert sorted(path.name for path in Path("out/groups").iterdir()) == ["0000-3", "0003-3"]
    monkeypatch.setattr("nstjax.system.devices.available_memory", lambda: int(0.5 * one))
    assert main([*arguments, "--out", "none"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "GiB of memory" in error and "would fit" in error and not Path("none").exists()
    assert main([*arguments, "--out", "two", "--group-size", "4"]) == 0
    assert "5 members, 4 at a time" in capsys.readouterr().err


# Resuming.


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory):
    """Return a folder with a finished sweep and the same sweep stopped in the middle, made once for all tests."""
    folder = tmp_path_factory.mktemp("sweeps")
    fill_workspace(folder)
    options = {"vary": {"style": [1.0, 10.0, 100.0]}, "group_size": 2, "snapshots": (3,), "log_every": 2}
    with contextlib.chdir(folder):
        nstjax.sweep("content.png", "style.png", out="whole", **options, **COMMON)
        result = nstjax.sweep("content.png", "style.png", out="parts", listener=StopAt(3), **options, **COMMON)
    assert not result.finished and result.members[0].steps == 3 and result.members[2] is None
    return folder


@pytest.fixture
def swept(sweeps, tmp_path, monkeypatch):
    """Return the folder of a finished sweep, and the folder of the same sweep stopped in the middle, in copies."""
    shutil.copytree(sweeps, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return Path("whole"), Path("parts")


def test_a_resumed_sweep_equals_the_one_that_was_not_stopped(swept, capsys):
    whole, parts = swept
    shutil.copytree(parts / "groups" / "0000-2", parts / "groups" / "0000-2 (copy)")
    assert main(["resume", "parts"]) == 0
    assert read_content(parts) == read_content(whole)
    assert (parts / "grid.png").read_bytes() == (whole / "grid.png").read_bytes()


def test_a_sweep_can_be_extended(swept):
    whole, parts = swept
    assert sweep.resume("whole", steps=12).finished
    assert sweep.resume("parts", steps=12).finished
    extended, straight = read_content(whole), read_content(parts)
    for name, content in extended.items():
        if name.endswith("jsonl"):
            # The last step of the shorter sweep was also logged.
            content = [line for line in content if line["step"] != 7]
        assert straight[name] == content
    assert RunFolder(next(parts.glob("members/*"))).read_record()["config"]["steps"] == [12]


def test_an_extension_that_was_killed_goes_on(swept):
    """It was killed when it had written the first record."""
    whole, parts = swept
    assert sweep.resume("parts").finished
    folder = RunFolder(parts / "members" / "style=1")
    folder.write_record(extend(folder.read_record(), 12))
    assert main(["resume", "parts"]) == 0
    assert main(["resume", "whole", "--steps", "12"]) == 0
    assert read_content(parts) == read_content(whole)


def test_a_member_is_detached_and_the_sweep_continues_without_it(swept, capsys):
    whole, parts = swept
    member = parts / "members" / "style=10"
    assert main(["resume", str(member)]) == 0
    assert "detached from its sweep at step 3" in capsys.readouterr().err
    record = RunFolder(member).read_record()
    assert record["taken_out"]["step"] == 3 and "sweep" not in record
    assert_same_run(
        images.read(member / "output.png").rgb, images.read(whole / "members" / "style=10" / "output.png").rgb
    )
    before = (member / "output.png").read_bytes(), (member / "metrics.jsonl").read_bytes()
    assert main(["resume", str(member), "--steps", "11"]) == 0
    after = (member / "output.png").read_bytes(), (member / "metrics.jsonl").read_bytes()
    assert after != before
    assert main(["resume", "parts"]) == 0
    assert ((member / "output.png").read_bytes(), (member / "metrics.jsonl").read_bytes()) == after
    whole_content, parts_content = (
        {name: content for name, content in read_content(folder).items() if "style=10/" not in name}
        for folder in (whole, parts)
    )
    assert parts_content == whole_content


def test_a_changed_sweep_is_refused(swept, capsys):
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


def test_a_group_that_runs_out_of_memory_is_split(workspace, capsys, monkeypatch):
    """The two halves continue from the last checkpoint, and end with the same pictures."""
    arguments = [*SWEEP, "--style-weight", "1", "10", "100", "--init", "noise", "--checkpoint-every", "2"]
    assert main([*arguments, "--out", "whole"]) == 0
    whole = read_pixels("whole")
    make_program = Members.make_program

    def make_failing_program(self, members):
        program = make_program(self, members)

        def chunk(state, problem, steps):
            if len(members) > 2 and np.asarray(state.step).max() >= 4:
                Path("out/groups/0000-3/notes.txt").write_text("mine")
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes")
            return program.chunk(state, problem, steps)

        return dataclasses.replace(program, chunk=chunk)

    monkeypatch.setattr(Members, "make_program", make_failing_program)
    capsys.readouterr()
    assert main([*arguments, "--out", "out"]) == 0
    stderr = capsys.readouterr().err
    assert "out of memory with 3 members at a time: continuing with 2" in stderr
    assert stderr.count("continuing from step 4 of 8") == 2, stderr
    assert sorted(path.name for path in Path("out/groups").iterdir()) == ["0000-2", "0000-3", "0002-2"]
    assert [path.name for path in Path("out/groups/0000-3").iterdir()] == ["notes.txt"]
    for name, picture in read_pixels("out").items():
        assert_same_run(picture, whole[name])

    def end_process(checkpoints):
        raise KeyboardInterrupt

    # A process that ends before it has removed the group leaves that to the resume.
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "remove_all", end_process)
        assert main([*arguments, "--out", "killed"]) == 130
    assert checkpoint_steps(Path("killed/groups/0000-3/checkpoints")) == [2, 4]
    assert main(["resume", "killed"]) == 0
    assert sorted(path.name for path in Path("killed/groups").iterdir()) == ["0000-2", "0002-2"]
    assert read_content("killed") == read_content("out")
    assert main(["resume", "out", "--steps", "10"]) == 0

    def chunk_without_memory(*arguments):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")

    def make_program_without_memory(self, members):
        return dataclasses.replace(make_program(self, members), chunk=chunk_without_memory)

    monkeypatch.setattr(Members, "make_program", make_program_without_memory)
    assert main([*arguments, "--out", "none", "--group-size", "1"]) == 1
    assert "out of memory with one member at a time" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.filterwarnings("ignore:.*device")
def test_groups_of_different_sizes_continue_on_devices_that_divide_all_of_them(workspace, monkeypatch):
    assert main([*SWEEP, "--style-weight", "1", "10", "--group-size", "1", "--out", "out"]) == 0
    groups = SweepFolder("out").read_groups({})
    # As after a group of eight ran out of memory and was split.
    sizes = [dataclasses.replace(group, size=size) for group, size in zip(groups, (6, 4), strict=True)]
    monkeypatch.setattr(SweepFolder, "read_groups", lambda self, records: sizes)
    device_counts = []

    def record_devices(runs, inputs, devices):
        device_counts.append(len(devices))
        raise KeyboardInterrupt

    monkeypatch.setattr(sweep, "make_members", record_devices)
    for count in (3, 4, 8):
        monkeypatch.setattr(jax, "local_devices", lambda *_, count=count, **__: jax.devices() * count)
        with pytest.raises(KeyboardInterrupt):
            sweep.resume("out", steps=10)
    assert device_counts == [2, 2, 2]
