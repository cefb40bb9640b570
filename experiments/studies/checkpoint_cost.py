"""What it costs to keep a run: time, and memory over many steps.

    python experiments/studies/checkpoint_cost.py CONTENT STYLE --out runs/keeping-cost

prints two tables. The first compares a run of 1,000 steps at 512 pixels that writes a checkpoint and a snapshot every
500 and a line of metrics every 50 with the same run that keeps nothing, in turn, five times each; beside it, what the
steps waited for what is kept, timed in the first run itself. The second shows the memory that the process holds over
10,000 steps with a checkpoint every 100. The network has a sixteenth of VGG19's channels, so a step is many times
cheaper than a real one, and what is kept costs as much: the share is an upper bound. About a quarter of an hour on two
CPU cores.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from narrow_vgg19 import write_narrow_weights

from nstjax.callbacks import Listener, Record
from nstjax.experiment.experiment import load
from nstjax.experiment.inputs import prepare
from nstjax.runs.stylize import run
from nstjax.runs.writer import FolderKeeper


class Watch(Listener):
    """Takes the time from the first step to the last one's being safe, and the memory on the way."""

    def __init__(self):
        self.seconds, self.memory, self._next = 0.0, {}, 0

    def started(self, done: int, steps: int) -> None:
        """The clock starts."""
        self.seconds -= time.perf_counter()

    def advanced(self, step: int, losses: Record) -> None:
        """Looks at the memory every thousand steps."""
        if step >= self._next:
            self.memory[step] = psutil.Process().memory_info().rss
            self._next += 1000

    def finished(self) -> None:
        """The clock stops."""
        self.seconds += time.perf_counter()


waited = 0.0
"""Seconds that the loop has spent in what is kept."""


def time_keeping() -> None:
    """Have the time taken of everything that the loop calls to keep a run."""

    def timed(method: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: Any) -> None:
            global waited
            begun = time.perf_counter()
            method(*arguments)
            waited += time.perf_counter() - begun

        return call

    for name in ("logged", "reached", "finish"):
        setattr(FolderKeeper, name, timed(getattr(FolderKeeper, name)))


def main() -> None:
    """Run both studies, print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("content")
    parser.add_argument("style")
    parser.add_argument("--out", type=Path, required=True, help="new folder for the runs")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--memory-steps", type=int, default=10_000)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True)
    write_narrow_weights(arguments.out / "narrow.safetensors")
    recipe = load("long-run").replace(weights=str(arguments.out / "narrow.safetensors"), snapshots=())

    timed = recipe.replace(
        size=512, steps=arguments.steps, checkpoint_every=500, snapshot_every=500, log_every=50, checkpoint_minutes=1e6
    )
    inputs = prepare(arguments.content, arguments.style, timed.config)
    print("| pair | kept, s | not kept, s | ratio | waited, s | of it |\n|---|---|---|---|---|---|")
    time_keeping()
    ratios, shares = [], []
    for pair in range(arguments.pairs):
        kept, bare = Watch(), Watch()
        # Each is first in every other pair.
        order = [(kept, arguments.out / f"timed-{pair}"), (bare, None)]
        before = waited
        for watch, out in order if pair % 2 else order[::-1]:
            run(timed, inputs, out=out, listener=watch)
        ratios.append(kept.seconds / bare.seconds)
        shares.append((waited - before) / kept.seconds)
        figures = f"{ratios[-1]:.4f} | {waited - before:.3f} | {shares[-1]:.2%}"
        print(f"| {pair + 1} | {kept.seconds:.2f} | {bare.seconds:.2f} | {figures} |", flush=True)
    print(f"\nratio: median {statistics.median(ratios):.4f}, from {min(ratios):.4f} to {max(ratios):.4f}")
    print(f"waited: median {statistics.median(shares):.2%}, from {min(shares):.2%} to {max(shares):.2%}\n")

    long = recipe.replace(
        size=64, steps=arguments.memory_steps, checkpoint_every=100, snapshot_every=1000, log_every=10
    )
    watch = Watch()
    run(long, prepare(arguments.content, arguments.style, long.config), out=arguments.out / "memory", listener=watch)
    print("| step | resident memory, MiB |\n|---|---|")
    for step, size in watch.memory.items():
        print(f"| {step:,} | {size / 2**20:.1f} |")


if __name__ == "__main__":
    main()
