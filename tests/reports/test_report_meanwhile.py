"""Reports that one process draws while another one works in the folder."""

from pathlib import Path

from quick_run import QUICK

from nstjax.cli import main
from nstjax.reports import run_report, sweep_report

PAGES = ("sheet.png", "curves.svg", "report.html")
SWEEP = ["sweep", *QUICK[1:], "--style-weight", "1", "10"]


def read_files(folder, names):
    return {name: Path(folder, name).read_bytes() for name in names}


def act_once(monkeypatch, owner, name, action):
    """Let something happen before the first call of a function."""
    original, calls = getattr(owner, name), []

    def call(*arguments, **options):
        calls.append(name)
        if len(calls) == 1:
            action()
        return original(*arguments, **options)

    monkeypatch.setattr(owner, name, call)


def test_the_report_of_an_earlier_state_does_not_replace_the_last_one(workspace, monkeypatch):
    """The run ends while another process draws its report."""
    assert main([*QUICK, "--out", "out", "--snapshot-every", "2", "--log-every", "1"]) == 0
    resume = ["resume", "out", "--steps", "12", "--quiet"]
    with monkeypatch.context() as patch:
        act_once(patch, run_report, "curves", lambda: main(resume))
        assert main(["report", "out"]) == 0
    drawn_meanwhile = read_files("out", PAGES)
    assert main(["report", "out"]) == 0
    assert drawn_meanwhile == read_files("out", PAGES)


def test_the_report_of_an_earlier_state_of_a_sweep_does_not_replace_the_last_one(workspace, monkeypatch):
    names = ("grid.png", "table.csv", "report.html")
    assert main([*SWEEP, "--out", "out", "--quiet"]) == 0
    with monkeypatch.context() as patch:
        act_once(patch, sweep_report, "grid", lambda: main(["resume", "out", "--steps", "12", "--quiet"]))
        assert main(["report", "out"]) == 0
    drawn_meanwhile = read_files("out", names)
    assert main(["report", "out"]) == 0
    assert drawn_meanwhile == read_files("out", names)


def test_a_run_may_begin_again_while_its_report_is_drawn(workspace, monkeypatch):
    """It was killed before its first checkpoint, and its resume drops the lines that the report has read."""
    assert main([*QUICK, "--out", "out", "--log-every", "1"]) == 0

    def begin_again():
        Path("out/metrics.jsonl").write_bytes(b"")
        Path("out/progress.json").unlink(missing_ok=True)

    act_once(monkeypatch, run_report, "read_status", begin_again)
    assert main(["report", "out"]) == 0
    assert Path("out/report.html").read_text(encoding="utf-8").rstrip().endswith("</html>")
