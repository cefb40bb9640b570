"""Settings of XLA with which programs compile quickly.

Most of the time of the tests is spent in compiling programs that run once: what LLVM would optimise in them is not
under test.
"""

import mmap
from importlib.util import find_spec
from pathlib import Path

FLAGS = (
    "--xla_backend_optimization_level=0",
    "--xla_cpu_use_fusion_emitters=false",
    "--xla_cpu_parallel_codegen_split_count=1",
)

USUAL = {
    "xla_backend_optimization_level": 3,
    "xla_cpu_use_fusion_emitters": True,
    "xla_cpu_parallel_codegen_split_count": 32,
}
"""XLA's own values of these settings, for a test that is about what XLA makes of a program."""


def find_known_flags(flags):
    """Return those flags whose names are strings of jaxlib's largest library: XLA ends a process that passes others.

    A name that is only reserved, for a flag of older releases, is there as well, but not as a string of C.
    """
    (folder,) = find_spec("jaxlib").submodule_search_locations
    libraries = Path(folder).glob("*.so")
    with (
        open(max(libraries, key=lambda file: file.stat().st_size), "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as library,
    ):
        return [flag for flag in flags if library.find(f"\0{flag.strip('-').partition('=')[0]}\0".encode()) >= 0]
