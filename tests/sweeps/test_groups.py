"""Groups of a sweep that continue on another number of devices."""

import pytest

import nstjax
from nstjax.callbacks import Listener
from nstjax.errors import UserError
from nstjax.runs import stylize
from nstjax.storage.sweep_folder import Group
from nstjax.sweeps import sweep
from nstjax.sweeps.groups import choose_device_count


class Recorder(Listener):
    def __init__(self):
        self.lines = []

    def warning(self, message):
        self.lines.append(f"warning: {message}")

    def notice(self, message):
        self.lines.append(message)


@pytest.mark.parametrize(
    ("sizes", "before", "available", "count", "line"),
    [
        ((24,), 4, 4, 4, None),
        ((24,), 4, 5, 4, "using 4 of 5 devices, over which groups of 24 members spread evenly"),
        (
            (24,),
            8,
            5,
            4,
            "warning: continuing on 4 of 5 devices, but the sweep last ran on 8: the last bits may differ",
        ),
        (
            (24,),
            4,
            12,
            12,
            "warning: continuing on 12 of 12 devices, but the sweep last ran on 4: the last bits may differ",
        ),
        ((6, 4), 2, 8, 2, "using 2 of 8 devices, over which groups of 4 and 6 members spread evenly"),
        ((7,), 1, 5, 1, "using 1 of 5 devices, over which groups of 7 members spread evenly"),
    ],
)
def test_groups_continue_on_as_many_devices_as_divide_them(sizes, before, available, count, line):
    groups = [Group((number,), size, before, "") for number, size in enumerate(sizes)]
    listener = Recorder()
    assert choose_device_count(groups, available, listener) == count
    assert listener.lines == ([line] if line else [])


def test_the_other_kind_of_folder_is_named(tmp_path):
    (tmp_path / "sweep.json").write_text("{}")
    with pytest.raises(UserError, match=r"holds a sweep, not a run: continue it with nstjax resume"):
        stylize.resume(tmp_path)
    with pytest.raises(UserError, match=r"no sweep in .*: expected a folder made by nstjax sweep"):
        sweep.resume(tmp_path / "none")
    with pytest.raises(UserError, match=r"no run in .*: expected a folder made by nstjax run or nstjax sweep"):
        nstjax.resume(tmp_path / "none")
