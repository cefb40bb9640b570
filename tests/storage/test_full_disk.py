"""A disk that fills up during a run: one warning, one line of error, intact checkpoints, a run that can be resumed."""

import contextlib
import importlib
import os
import re
import subprocess
import time
from pathlib import Path

import pytest
from quick_run import QUICK, read_losses

from nstjax.cli import main


@pytest.fixture
def small_disk(tmp_path):
    """Mount a file system of 4 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4M", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("a small file system cannot be mounted here (it needs root)")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def fill(disk):
    free = os.statvfs(disk)
    # A checkpoint that is being written at the same time may take some of it first.
    with contextlib.suppress(OSError):
        (disk / "ballast").write_bytes(bytes(free.f_bavail * free.f_bsize))


# {what is written: (method that writes it, number of its call at which the disk fills up, text of the error, options)}.
WRITES = {
    "a checkpoint": (
        "storage.checkpoints.Checkpoints._write",
        2,
        "the checkpoint of step 30",
        ["--checkpoint-every", "10"],
    ),
    "a snapshot": ("storage.run_folder.RunFolder.write_snapshot", 2, "[^ ]*000030.png", ["--snapshot-every", "15"]),
    # Small lines first fill the page that the file already has, so it takes several until one does not fit.
    "the metrics": (
        "storage.run_folder.RunFolder.log",
        28,
        "[^ ]*metrics.jsonl",
        ["--log-every", "1", "--checkpoint-every", "25"],
    ),
    "the progress": ("storage.run_folder.RunFolder.write_progress", 2, "[^ ]*progress.json", []),
    "the result": ("runs.result.Result.save", 1, "[^ ]*output.png", []),
}


@pytest.mark.parametrize("kind", WRITES)
def test_a_run_resumes_after_the_disk_was_full(workspace, small_disk, capsys, monkeypatch, kind):
    name, call, message, options = WRITES[kind]
    options = [*options, "--steps", "60"]
    assert main([*QUICK, "--out", "whole", *options]) == 0
    room, owner, method = name.rsplit(".", 2)
    target, calls = getattr(importlib.import_module(f"nstjax.{room}"), owner), 0
    original, out = getattr(target, method), small_disk / "out"

    def write(*arguments, **named):
        nonlocal calls
        calls += 1
        if calls == call:
            while list(out.glob("checkpoints/.*.part")):
                time.sleep(0.01)  # what the background thread is writing must still fit
            fill(small_disk)
        return original(*arguments, **named)

    monkeypatch.setattr(target, method, write)
    monkeypatch.setattr("nstjax.runs.writer.PROGRESS_SECONDS", 0.0 if kind == "the progress" else 1e9)
    capsys.readouterr()
    assert main([*QUICK, "--out", str(out), *options, "--quiet"]) == 1
    *warnings, error = capsys.readouterr().err.splitlines()
    line = f"nstjax: cannot write {message}.*: No space left on device; fix that, then run: nstjax resume {out}"
    assert re.fullmatch(line, error), error
    warning = "nstjax: warning: cannot write .*: No space left on device; trying again with the next checkpoint"
    assert all(re.fullmatch(warning, line) for line in warnings), warnings
    # One warning for each time that the disk is found full: an old checkpoint that goes may make room once.
    assert len(warnings) in ((0,) if kind == "the result" else (1, 2)), warnings
    # The disk is still full: the same error again, and nothing is lost.
    monkeypatch.setattr(target, method, original)
    assert main(["resume", str(out), "--quiet"]) == 1
    assert "No space left on device" in capsys.readouterr().err.splitlines()[-1]
    (small_disk / "ballast").unlink()
    assert main(["resume", str(out), "--quiet"]) == 0
    assert "damaged" not in capsys.readouterr().err
    assert (out / "output.png").read_bytes() == Path("whole/output.png").read_bytes()
    assert read_losses(out) == read_losses("whole")
    for path in Path("whole").glob("snapshots/*"):
        assert (out / "snapshots" / path.name).read_bytes() == path.read_bytes()
    assert not [path for path in out.rglob("*") if path.name.endswith((".part", ".old"))]


def test_a_disk_that_is_full_from_the_start_is_one_line_of_error(workspace, small_disk, capsys):
    fill(small_disk)
    assert main([*QUICK, "--out", str(small_disk / "out"), "--quiet"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "No space left on device" in error
