"""The writer: snapshots, checkpoints and TensorBoard files, and when they are written."""

import errno
import io
import re
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from quick_run import QUICK, read_losses

from nstjax import images
from nstjax.cli import main
from nstjax.errors import NotWritten
from nstjax.experiment.config import Config
from nstjax.runs.loop import choose_chunk_length
from nstjax.storage.checkpoints import Checkpoints
from nstjax.storage.contents import checkpoint_steps
from nstjax.storage.run_folder import RunFolder
from nstjax.storage.tensorboard import Events


def test_snapshots_at_given_steps_and_every_n(workspace):
    assert main([*QUICK, "--out", "out", "--snapshots", "0,4", "--snapshot-every", "3", "--steps", "8"]) == 0
    assert sorted(path.stem for path in Path("out/snapshots").iterdir()) == ["000000", "000003", "000004", "000006"]


def test_checkpoints_every_n_steps_and_at_the_end_and_the_newest_are_kept(workspace):
    assert main([*QUICK, "--out", "out", "--checkpoint-every", "3", "--checkpoint-keep", "2", "--steps", "14"]) == 0
    assert checkpoint_steps(Path("out/checkpoints")) == [12, 14]
    assert main([*QUICK, "--out", "one", "--checkpoint-every", "1", "--checkpoint-keep", "100", "--steps", "5"]) == 0
    assert checkpoint_steps(Path("one/checkpoints")) == [1, 2, 3, 4, 5]


def test_checkpoints_every_few_minutes_if_steps_are_slow(workspace):
    options = ["--checkpoint-every", "1000000", "--checkpoint-keep", "100", "--steps", "5", "--snapshot-every", "1"]
    assert main([*QUICK, "--out", "out", *options, "--checkpoint-minutes", "0"]) == 0
    assert checkpoint_steps(Path("out/checkpoints")) == [1, 2, 3, 4, 5]  # each snapshot ends a chunk


# {what fails once: (owner, method, number of the call that fails)}.
WRITES = {
    "a checkpoint": (Checkpoints, "_put_in_place", 2),
    "the last checkpoint": (Checkpoints, "_put_in_place", 4),
    "a snapshot": (RunFolder, "write_snapshot", 1),
    "a line of the metrics": (RunFolder, "log", 3),
    "the last line of the metrics": (RunFolder, "log", 8),
    "the progress": (RunFolder, "write_progress", 2),
    "waiting for the metrics": (RunFolder, "sync_log", 1),
    "an event": (Events, "write_losses", 2),
}


def fail_once(monkeypatch, owner, method, number):
    """Let one call of a method fail."""
    original, calls = getattr(owner, method), []

    def write(*arguments):
        calls.append(arguments)
        if len(calls) == number:
            raise NotWritten("cannot write a file: Stale file handle")
        return original(*arguments)

    monkeypatch.setattr(owner, method, write)


STEPS = ["--steps", "8", "--log-every", "1", "--snapshots", "1,5", "--checkpoint-every", "2", "--quiet"]


def read_results(folder):
    return {path.name: path.read_bytes() for path in [*Path(folder).glob("snapshots/*"), Path(folder, "output.png")]}


def test_a_write_that_fails_once_costs_one_warning(workspace, capsys, monkeypatch):
    pytest.importorskip("tensorboardX")
    monkeypatch.setattr("nstjax.runs.writer.PROGRESS_SECONDS", 0.0)
    options = [*STEPS, "--tensorboard"]
    assert main([*QUICK, "--out", "whole", *options]) == 0
    for kind, (owner, method, number) in WRITES.items():
        capsys.readouterr()
        with monkeypatch.context() as patch:
            fail_once(patch, owner, method, number)
            assert main([*QUICK, "--out", kind, *options]) == 0
        (line,) = capsys.readouterr().err.splitlines()
        assert re.fullmatch(r"nstjax: warning: cannot .*Stale file handle; trying again with the next checkpoint", line)
        assert read_losses(kind) == read_losses("whole") and read_results(kind) == read_results("whole")
        assert checkpoint_steps(Path(kind, "checkpoints"))[-1] == 8 and not list(Path(kind).rglob("*.part"))


def test_two_checkpoints_in_a_row_that_fail_end_the_run(workspace, capsys, monkeypatch):
    def fail(*arguments):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "_put_in_place", fail)
        assert main([*QUICK, "--out", "out", *STEPS]) == 1
    warning, error = capsys.readouterr().err.splitlines()
    assert warning.startswith("nstjax: warning: cannot write the checkpoint of step 2 into ")
    assert re.fullmatch(
        "nstjax: cannot write the checkpoint of step 4 .*: Disk quota exceeded; fix that, then run: nstjax resume out",
        error,
    )
    assert not list(Path("out/checkpoints").iterdir())
    assert main(["resume", "out", "--quiet"]) == 0


def test_no_half_of_a_line_stays(tmp_path, monkeypatch):
    class FullDisk(io.FileIO):
        def write(self, data):
            super().write(data[:5])
            raise OSError(errno.ENOSPC, "No space left on device")

    folder = RunFolder(tmp_path)
    folder.log({"step": 1})
    with monkeypatch.context() as patch, pytest.raises(NotWritten, match=r"metrics.jsonl: No space left"):
        patch.setattr(Path, "open", lambda path, mode, buffering: FullDisk(path, mode))
        folder.log({"step": 2})
    folder.log({"step": 2})
    assert folder.metrics.read_text() == '{"step": 1}\n{"step": 2}\n'


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--checkpoint-every", "0"], "checkpoint-every must be at least 1"),
        (["--checkpoint-keep", "1"], "checkpoint-keep must be at least 2"),
        (["--checkpoint-minutes", "-1"], "checkpoint-minutes must be at least 0"),
        (["--snapshot-every", "0"], "snapshot-every must be at least 1"),
    ],
)
def test_bad_intervals_are_refused(workspace, capsys, options, message):
    assert main([*QUICK, "--out", "out", *options]) == 2
    assert message in capsys.readouterr().err and not Path("out").exists()


def test_chunks_end_when_something_is_due():
    config = Config(steps=1000, snapshots=(7,), snapshot_every=60, checkpoint_every=50, log_every=1)
    lengths, step = [], 0
    while step < config.total_steps:
        lengths.append(choose_chunk_length(config, step, 1000, 0.01))
        assert lengths[-1] >= 1
        step += lengths[-1]
    ends = set(np.cumsum(lengths).tolist())
    assert {7, *range(50, 1001, 50), *range(60, 1001, 60)} <= ends and step == 1000
    assert max(lengths) <= 50
    assert choose_chunk_length(Config(steps=10_000), 0, 10_000, 1e-9) == 256  # the buffer of metrics
    assert choose_chunk_length(Config(steps=10_000), 0, 10_000, 60.0) == 1


def test_deterministic_changes_nothing_on_a_cpu(workspace):
    assert main([*QUICK, "--out", "plain"]) == 0
    assert main([*QUICK, "--out", "deterministic", "--deterministic"]) == 0
    np.testing.assert_array_equal(images.read("deterministic/output.png").rgb, images.read("plain/output.png").rgb)


def read_events(folder):
    """Read the events in TensorBoard's files, oldest first. An event is: length, checksum, data, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    events = []
    for path in sorted(Path(folder).iterdir(), key=lambda path: path.stat().st_mtime_ns):
        content, offset = path.read_bytes(), 0
        while offset < len(content):
            (length,) = struct.unpack_from("<Q", content, offset)
            events.append(Event.FromString(content[offset + 12 : offset + 12 + length]))
            offset += length + 16
    return events


def test_tensorboard_shows_every_logged_step_once_after_a_resume(workspace):
    pytest.importorskip("tensorboardX")
    assert main([*QUICK, "--out", "out", "--tensorboard", "--log-every", "2", "--snapshots", "4", "--steps", "6"]) == 0
    assert main(["resume", "out", "--steps", "9"]) == 0
    events = read_events("out/tensorboard")
    scalars = [(event.step, value.tag) for event in events for value in event.summary.value if value.tag != "picture"]
    totals = [step for step, tag in scalars if tag == "loss/total"]
    assert totals == [0, 2, 4, 5, 6, 8]
    assert {tag.removeprefix("loss/") for _, tag in scalars} == {"total", "content", "style", "tv", "seconds_per_step"}
    assert [event.step for event in events for value in event.summary.value if value.tag == "picture"] == [4]
    assert [event.step for event in events if event.HasField("session_log")] == [6]


def test_tensorboard_without_its_library_is_refused_in_one_line(workspace, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    assert main([*QUICK, "--out", "out", "--tensorboard"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "pip install 'nstjax[tensorboard]'" in error
    assert not Path("out").exists()


def test_a_resume_without_tensorboards_library_is_refused_in_one_line(workspace, capsys, monkeypatch):
    assert main([*QUICK, "--out", "out", "--tensorboard"]) == 0
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    capsys.readouterr()
    assert main(["resume", "out", "--steps", "9", "--quiet"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "pip install 'nstjax[tensorboard]'" in error
