"""The instruction sets of the processor, as Linux lists them."""

from pathlib import Path

import pytest

from nstjax.system import devices

XEON = "processor\t: 0\nmodel name\t: Xeon\nflags\t\t: fpu fma avx2 avx512f avx512_bf16 amx_bf16\nbugs\t\t: none\n"
OLD = "processor\t: 0\nmodel name\t: Old\nflags\t\t: fpu fma avx2\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd bf16\n"


@pytest.mark.parametrize(
    ("text", "sets", "multiplies"),
    [
        (XEON, ["fma", "avx2", "avx512f", "avx512_bf16", "amx_bf16"], True),
        (OLD, ["fma", "avx2"], False),
        # Whether XLA uses these has not been measured.
        (ARM, ["asimd", "bf16"], False),
        (None, [], False),
    ],
)
def test_instruction_sets_are_those_that_linux_lists(monkeypatch, text, sets, multiplies):
    def read_text(path):
        if text is None:
            raise FileNotFoundError(path)
        return text

    monkeypatch.setattr(Path, "read_text", read_text)
    assert devices.list_instruction_sets() == sets
    assert devices.multiplies_bfloat16() == multiplies
    assert devices.processor_name().startswith({XEON: "Xeon, ", OLD: "Old, "}.get(text, ""))
