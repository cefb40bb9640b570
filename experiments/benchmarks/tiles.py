"""The cost of tiles: time and memory of a step, at once and tile by tile.

    python experiments/benchmarks/tiles.py CONTENT STYLE --sizes 1024 2048 --tiles none 512 1024 --weights vgg16

prints a table. Each row is a whole command, ``nstjax run`` at one size, in a process of its own: the median of its
seconds a step, without the first if there are more, and its largest resident memory, the reading of the weights
included. Rows of one size take turns, round by round, so that other load meets all of them. Any other option is passed
on to ``nstjax run``, such as ``--recompute-content``.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from nstjax.experiment.experiment import load
from nstjax.network.load import load_vgg
from nstjax.tiling.grid import make_grid


def measure(command: Sequence[str], folder: Path) -> tuple[float, float]:
    """Run a command that writes to a folder; return the seconds a step, and the peak of the resident memory in GiB."""
    process = subprocess.Popen([*command, "--out", str(folder)])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    seconds = [line["seconds_per_step"] for line in lines]
    return statistics.median(seconds[1:] or seconds), usage.ru_maxrss / 2**20


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="The cost of tiles: time and memory of a step.")
    parser.add_argument("content")
    parser.add_argument("style")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1024], help="long sides in pixels (default: 1024)")
    parser.add_argument("--tiles", nargs="+", default=["none", "512"], help="sides of tiles (default: none 512)")
    parser.add_argument("--weights", default="auto")
    parser.add_argument("--experiment", default="default", help="a preset, or an experiment's file (default: default)")
    parser.add_argument("--steps", type=int, default=3, help="steps of each run, of which the first does not count")
    parser.add_argument("--rounds", type=int, default=1, help="runs of each row (default: 1)")
    arguments, options = parser.parse_known_args(argv)
    print("| pixels | tile | windows | pixels computed / pixels | s a step | peak, GiB |", "|---" * 6 + "|", sep="\n")
    network = load_vgg(arguments.weights)
    experiment = load(arguments.experiment)
    layers = experiment.config.every_layer
    run = [sys.executable, "-m", "nstjax", "run", arguments.content, arguments.style, "--weights", arguments.weights]
    run += ["--experiment", str(experiment.path), "--steps", str(arguments.steps), "--enlarge", "--log-every", "1"]
    run += options
    for size in arguments.sizes:
        results: dict[str, list[tuple[float, float]]] = {tile: [] for tile in arguments.tiles}
        shape: list[int] = []
        for _ in range(arguments.rounds):
            for tile in arguments.tiles:
                with tempfile.TemporaryDirectory() as parent:
                    folder = Path(parent) / "run"
                    results[tile].append(measure([*run, "--quiet", "--sizes", str(size), "--tile", tile], folder))
                    shape = json.loads((folder / "config.json").read_text())["pictures"]["content"]["shape"]
        for tile, measured in results.items():
            seconds, memory = (statistics.median(values) for values in zip(*measured, strict=True))
            windows, overhead = "1", 1.0
            if tile != "none":
                grid = make_grid(network, layers, shape, int(tile))
                windows, overhead = f"{grid.count} of {grid.window[1]}x{grid.window[0]}", grid.overhead
            cells = [f"{shape[1]}x{shape[0]}", tile, windows, f"{overhead:.2f}", f"{seconds:.2f}", f"{memory:.2f}"]
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
