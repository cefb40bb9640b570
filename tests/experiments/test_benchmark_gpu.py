"""The command that measures a GPU: its parts, their limits, and what becomes of a part that fails."""

import sys
from pathlib import Path

import pytest


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "experiments" / "benchmarks"))
    import gpu

    return gpu


def test_all_parts_take_nine_minutes_at_most_and_their_programs_exist(gpu, tmp_path):
    parts = gpu.list_parts(tmp_path, rehearse=False)
    assert sum(part.seconds for part in parts) <= 9 * 60
    programs = [command[0] for part in parts for command in part.commands]
    assert all(program == "-m" or Path(program).is_file() for program in programs)


def test_a_command_that_fails_or_hangs_costs_the_others_nothing(gpu, tmp_path):
    fails = ["-c", "import sys; print('half a result'); sys.exit('no memory')"]
    hangs = ["-c", "import time; print('begun', flush=True); time.sleep(60)"]
    section = gpu.run_part(gpu.Part("Title", 2, [fails, hangs]), tmp_path / "log")
    assert "exit code 1" in section and "half a result\n\nno memory" in section
    assert "stopped at the limit" in section and "begun" in section


def test_the_report_is_written_after_each_part(gpu, tmp_path, monkeypatch):
    parts = [gpu.Part("First", 9, [["-c", "print(1)"]]), gpu.Part("Second", 9, [["-c", "print(2)"]])]
    monkeypatch.setattr(gpu, "list_parts", lambda out, rehearse: parts)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--out", str(tmp_path / "out"), "--parts", "second"])
    assert gpu.main() == 0
    report = (tmp_path / "out" / "gpu.md").read_text()
    assert "## Second" in report and "\n\n2\n" in report and "First" not in report
