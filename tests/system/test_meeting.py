"""The meeting of processes: addresses that are none, a port that is taken, a process that is missing or killed."""

import signal
import socket
import subprocess
import sys
import time

import pytest

from nstjax.errors import UserError
from nstjax.system import processes
from nstjax.system.processes import join

WAIT = """
import sys
from nstjax.system.processes import join
join(lambda line: print(line, flush=True), coordinator=sys.argv[1], processes=2, index=0)
"""


@pytest.fixture
def port():
    """Return a port that is free."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@pytest.fixture
def meetings(monkeypatch):
    """Replace the meeting by one in which a process is missing; list the arguments of all."""
    arguments = []

    def run_meeting(given):
        arguments.append(given)
        return subprocess.CompletedProcess([], -6, "", "F1126 DEADLINE_EXCEEDED: Deadline Exceeded\n @ 0x7f6575c40634")

    monkeypatch.setattr(processes, "_run_meeting", run_meeting)
    return arguments


@pytest.mark.parametrize(
    ("coordinator", "count", "index", "message"),
    [
        ("127.0.0.1", 2, 0, "must be HOST:PORT, such as node1:1234, not '127.0.0.1'"),
        (":1234", 2, 0, "must be HOST:PORT"),
        ("127.0.0.1:http", 2, 0, "must be HOST:PORT"),
        ("127.0.0.1:99999", 2, 1, "must be HOST:PORT"),
        ("127.0.0.1:1", 0, 0, "--processes must be at least 1, not 0"),
        ("127.0.0.1:1", 2, 2, "from 0 to 1, not 2"),
        ("127.0.0.1:1", None, None, "go together"),
    ],
)
def test_an_address_or_a_position_that_is_none_is_refused(meetings, coordinator, count, index, message):
    with pytest.raises(UserError, match=message):
        join(pytest.fail, coordinator=coordinator, processes=count, index=index)
    assert not meetings


def test_a_port_that_is_taken_is_named(meetings, port):
    with socket.create_server(("127.0.0.1", port)), pytest.raises(UserError) as refused:
        join(pytest.fail, coordinator=f"127.0.0.1:{port}", processes=2, index=0)
    assert f"cannot open port {port} (Address already in use): stop the process that uses it" in str(refused.value)
    assert not meetings


@pytest.mark.parametrize(
    ("count", "index", "others"),
    [(2, 0, "process 1"), (3, 1, "process 0 and 2"), (5, 4, "processes 0, 1, 2, 3"), (99, 4, "the 98 other processes")],
)
def test_a_process_says_whom_it_waits_for_and_gives_up(meetings, port, count, index, others):
    notices, address = [], f"127.0.0.1:{port}"
    with pytest.raises(UserError, match=f"^{others} did not come within 5 minutes at {address}: start all processes"):
        join(notices.append, coordinator=address, processes=count, index=index)
    assert notices == [f"waiting for {others} at {address}, for 5 minutes at most"]
    assert meetings == [[address, count, index, 300]]


def test_a_killed_process_leaves_nobody_on_its_port(port):
    address = f"127.0.0.1:{port}"
    process = subprocess.Popen([sys.executable, "-c", WAIT, address], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == f"waiting for process 1 at {address}, for 5 minutes at most\n"
    wait_until(lambda: is_listening(port))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    wait_until(lambda: not is_listening(port))


def is_listening(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition):
    for _ in range(300):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail("waited 15 seconds")
