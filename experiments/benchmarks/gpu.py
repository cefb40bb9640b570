"""Everything that is to be measured on a GPU, in nine minutes, the most important first.

    python experiments/benchmarks/gpu.py --out runs/gpu

Each part is a separate command with a limit of its own, and writes its result as soon as it has one: a part that fails
or takes too long costs the others nothing. The results come together in OUT/gpu.md, the parts' errors in OUT/gpu.log.
``--rehearse`` runs all parts with tiny pictures on whatever JAX computes on, a CPU for instance.
"""

import argparse
import contextlib
import datetime
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
PICTURES = ("example:portrait", "example:brushwork")
NSTJAX = ("-m", "nstjax")
ERROR_LINES = 6


@dataclass(frozen=True)
class Part:
    """A part of the measurements.

    Args:
        title: its heading in the report.
        seconds: its limit.
        commands: arguments of Python, one list for each command; the next runs even if one fails.
        variables: environment variables.
    """

    title: str
    seconds: int
    commands: Sequence[Sequence[str]]
    variables: Mapping[str, str] = field(default_factory=dict)


def list_parts(out: Path, *, rehearse: bool) -> list[Part]:
    """Return the parts, the most important first.

    Args:
        out: folder for runs and pictures.
        rehearse: whether the pictures are tiny.
    """

    def choose(size: int, tiny: int) -> str:
        return str(tiny if rehearse else size)

    def script(name: str, *arguments: str) -> list[str]:
        return [str(HERE / name), *arguments]

    runs = out / "runs"
    step = ["--recipes", "tutorial", "--sizes", "--rounds", choose(7, 1), "--steps", choose(20, 1), "--gpu-sizes"]
    peers = ["nstjax bf16", "PyTorch bf16", "PyTorch compiled bf16"]
    resume = ["--size", choose(256, 48), "--steps", choose(1500, 60)]
    run = [*NSTJAX, "run", *PICTURES]
    big_sweep = [*NSTJAX, "sweep", *PICTURES, "--style-weight", *map(str, range(1, 25)), "--steps", "3"]
    little_memory = {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.03"}
    return [
        Part("Accuracy", 60, [script("gpu_accuracy.py", *PICTURES, "--size", choose(256, 64))]),
        Part(
            "Operations of a step",
            60,
            [script("gpu_profile.py", "--size", choose(1024, 64), "--program", str(out / "program.txt"))],
            {"XLA_FLAGS": "--xla_gpu_enable_command_buffer="},
        ),
        Part("Killed and resumed", 100, [script("gpu_resume.py", *PICTURES, *resume, "--out", str(runs / "resume"))]),
        Part(
            "A step next to PyTorch",
            180,
            [
                script(
                    "step.py", *PICTURES, *step, choose(size, 64), "--peers", *peers, "--out", str(runs / f"{size}.md")
                )
                for size in (1024, 512)
            ],
        ),
        Part("The default recipe", 40, [[*run, "--size", choose(512, 64), "--out", str(runs / "default")]]),
        Part("Sweeps", 60, [script("sweep.py", *PICTURES, "--size", choose(256, 48), "--members", choose(64, 2))]),
        Part(
            "Out of memory on purpose",
            40,
            [
                [*run, "--sizes", choose(4096, 64), "--steps", "3", "--out", str(runs / "too-large")],
                [*big_sweep, "--sizes", choose(384, 48), "--out", str(runs / "too-many")],
            ],
            little_memory,
        ),
    ]


def run_command(
    command: Sequence[str], seconds: float, environment: Mapping[str, str], log: Path
) -> tuple[str, str, str]:
    """Run a command of Python, stopped after the given seconds.

    Returns:
        (its output so far, the last lines of its errors, how it ended).
    """
    begun = time.monotonic()
    with log.open("a+") as errors:
        print(f"$ python {' '.join(command)}", file=errors, flush=True)
        start = errors.tell()
        process = subprocess.Popen(
            [sys.executable, *command],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=max(seconds, 1))
            ending = f"exit code {process.returncode}"
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            ending = "stopped at the limit"
        errors.seek(start)
        last_lines = errors.read().splitlines()[-ERROR_LINES:]
    return output, "\n".join(last_lines), f"{ending}, {time.monotonic() - begun:.0f} s"


def run_part(part: Part, log: Path) -> str:
    """Run a part's commands within its limit, and return its section of the report."""
    deadline = time.monotonic() + part.seconds
    lines = [f"## {part.title}"]
    for command in part.commands:
        output, errors, ending = run_command(command, deadline - time.monotonic(), part.variables, log)
        shown = " ".join(Path(word).name if word.startswith(str(HERE)) else word for word in command)
        lines += [f"`{shown}`: {ending}", *filter(None, [output.strip(), errors.strip()])]
    return "\n\n".join(lines)


def main() -> int:
    """Run all parts and write the report after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="new folder")
    parser.add_argument("--rehearse", action="store_true", help="tiny pictures, on whatever JAX computes on")
    parser.add_argument("--parts", nargs="+", metavar="WORD", help="only parts whose heading has one of these words")
    arguments = parser.parse_args()
    out: Path = arguments.out
    (out / "runs").mkdir(parents=True)
    sections = [f"# On a GPU, {datetime.date.today()}"]
    begun = time.monotonic()
    for part in list_parts(out, rehearse=arguments.rehearse):
        if arguments.parts and not any(word.lower() in part.title.lower() for word in arguments.parts):
            continue
        sections.append(run_part(part, out / "gpu.log"))
        print(f"{sections[-1]}\n\n[{time.monotonic() - begun:.0f} s]\n", flush=True)
        (out / "gpu.md").write_text("\n\n".join(sections) + "\n")
    picture = out / "runs" / "default" / "output.png"
    if picture.exists():
        shutil.copy(picture, out / "default.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
