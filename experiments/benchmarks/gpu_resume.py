"""A run that is killed and resumed on an accelerator, with and without ``--deterministic``.

    python experiments/benchmarks/gpu_resume.py example:portrait example:brushwork --out runs/gpu-resume

makes the same run in one go twice, and once killed by SIGKILL at a checkpoint and resumed; with ``--deterministic`` all
pictures and all logged losses must be the same to the byte. Prints how far each differs from the first, and the time of
a step. The exit code is 1 if a deterministic run differs.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nstjax.callbacks import TIMES
from nstjax.storage.run_folder import RunFolder


def run(*arguments: str) -> None:
    """Run a command of nstjax to its end."""
    subprocess.run([sys.executable, "-m", "nstjax", *arguments, "--quiet"], check=True, stdout=subprocess.DEVNULL)


def run_and_kill(out: Path, *arguments: str) -> int:
    """Start a command of nstjax, kill it at the first checkpoint before its end, and return the checkpoint's step."""
    process = subprocess.Popen(
        [sys.executable, "-m", "nstjax", *arguments, "--quiet"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    while process.poll() is None and not any(out.glob("checkpoints/*/seal.json")):
        time.sleep(0.01)
    process.kill()
    _, errors = process.communicate()
    if process.returncode != -9:
        raise SystemExit(f"the run was over before it could be killed: {errors.decode()}")
    return max(int(path.parent.name) for path in out.glob("checkpoints/*/seal.json"))


def read_losses(out: Path) -> list[dict[str, Any]]:
    """Return the logged lines without the times."""
    lines = [json.loads(line) for line in RunFolder(out).metrics.read_text().splitlines()]
    return [{name: value for name, value in line.items() if name == "step" or name not in TIMES} for line in lines]


def measure_step(out: Path) -> float:
    """Return the median seconds of a step over the logged lines."""
    lines = RunFolder(out).metrics.read_text().splitlines()
    return statistics.median(json.loads(line)["seconds_per_step"] for line in lines)


def main() -> int:
    """Print one row for each pair of runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("content")
    parser.add_argument("style")
    parser.add_argument("--out", type=Path, required=True, help="new folder for the runs")
    parser.add_argument("--weights", default="auto")
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--steps", type=int, default=1000)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True)
    options = ["--weights", arguments.weights, "--sizes", str(arguments.size), "--steps", str(arguments.steps)]
    options += [
        "--checkpoint-every",
        str(max(arguments.steps // 5, 1)),
        "--log-every",
        str(max(arguments.steps // 20, 1)),
    ]
    print("| run | compared with the first in one go | picture, mean difference of 255 | last loss | s a step |")
    print("|---|---|---|---|---|")
    same = True
    for deterministic in (True, False):
        kind = "deterministic" if deterministic else "default"
        first = None
        for name in ("whole", "again", "killed"):
            out = arguments.out / f"{kind}-{name}"
            command = ["run", arguments.content, arguments.style, *options, "--out", str(out)]
            command += ["--deterministic"] if deterministic else []
            label = f"{kind}, {name}"
            if name == "killed":
                label += f" at {run_and_kill(out, *command)}"
                run("resume", str(out))
            else:
                run(*command)
            picture = np.asarray(Image.open(out / "output.png"), np.float64)
            losses, seconds = read_losses(out), measure_step(out)
            if first is None:
                first = picture, losses
            equal = losses == first[1] and np.array_equal(picture, first[0])
            same &= equal or not deterministic
            ratio = losses[-1]["total"] / first[1][-1]["total"]
            difference = np.abs(picture - first[0]).mean()
            verdict = "the same" if equal else "differs"
            print(f"| {label} | {verdict} | {difference:.3f} | {ratio:.6f} | {seconds:.5f} |", flush=True)
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
