"""The parts of a sweep: "I/N", and what a cluster says."""

import subprocess

import pytest

from nstjax.errors import UserError
from nstjax.system import processes
from nstjax.system.processes import Part, detect_part, parse_part

SLURM = {
    "SLURM_JOB_ID": "47",
    "SLURM_STEP_NODELIST": "localhost",
    "SLURM_NTASKS": "1",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_STEP_NUM_NODES": "1",
}
"""Variables that Slurm sets for the only process of a job."""


def test_a_part_is_counted_from_one():
    assert parse_part(None) == Part(0, 1)
    assert parse_part("2/4") == Part(1, 4)


@pytest.mark.parametrize("text", ["0/2", "3/2", "2", "1/0", "a/b", "1/2/3", "-1/2", 2, (1, 2)])
def test_a_part_that_is_none_is_refused(text):
    with pytest.raises(UserError, match=r"part must be I/N with I from 1 to N, such as 2/4, not "):
        parse_part(text)


def test_a_cluster_says_which_part_a_process_is(monkeypatch):
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    notices = []
    assert detect_part(notices.append) == "1/1"
    assert notices == ["waiting for the other processes in this cluster, for 5 minutes at most"]


def test_outside_of_a_cluster_the_way_out_is_named():
    with pytest.raises(UserError, match=r"did not find each other .* give each process its --part I/N"):
        detect_part(lambda line: None)


def test_a_process_that_does_not_come_is_one_line(monkeypatch):
    late = subprocess.CompletedProcess([], -6, "", "F1126 DEADLINE_EXCEEDED: Deadline Exceeded\n @ 0x7f6575c40634")
    monkeypatch.setattr(processes, "_run_meeting", lambda: late)
    with pytest.raises(UserError, match="did not come within 5 minutes: start all at about the same time") as refused:
        detect_part(lambda line: None)
    assert "\n" not in str(refused.value)
