"""The cost of writing a run to disk: time, and memory over many steps.

    python experiments/studies/checkpoint_cost.py CONTENT STYLE --out runs/keeping-cost

prints two tables. The first compares a run of 1,000 steps at 512 pixels, which writes a checkpoint and a snapshot every
500 steps and a line of metrics every 50, with the same run without a folder, in turn, five times each; it also shows
how long the loop waited for the writer. The second shows the memory of the process over 10,000 steps with a checkpoint
every 100. The network has a sixteenth of VGG19's channels, so a step is many times cheaper than a real one, but writing
costs the same: the share is an upper bound. About a quarter of an hour on two CPU cores.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from narrow_vgg19 import write_narrow_weights

from nstjax.callbacks import Listener, LogLine
from nstjax.experiment.experiment import load
from nstjax.runs.stylize import stylize
from nstjax.runs.writer import FolderWriter


class Watch(Listener):
    """A listener that measures the time from the first step until the last checkpoint is written, and the memory."""

    def __init__(self):
        self.seconds, self.memory, self._next = 0.0, {}, 0

    def started(self, done: int, steps: int) -> None:
        """Start the clock."""
        self.seconds -= time.perf_counter()

    def advanced(self, step: int, losses: LogLine) -> None:
        """Read the memory every thousand steps."""
        if step >= self._next:
            self.memory[step] = psutil.Process().memory_info().rss
            self._next += 1000

    def finished(self) -> None:
        """Stop the clock."""
        self.seconds += time.perf_counter()


waited = 0.0
"""Seconds that the loop has spent in the writer."""


def time_writer() -> None:
    """Time every method of the writer that the loop calls."""

    def time_calls(method: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: Any) -> None:
            global waited
            begun = time.perf_counter()
            method(*arguments)
            waited += time.perf_counter() - begun

        return call

    for name in ("log", "update", "save"):
        setattr(FolderWriter, name, time_calls(getattr(FolderWriter, name)))


def main() -> None:
    """Run both studies and print two tables."""
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

    short = recipe.replace(
        size=512, steps=arguments.steps, checkpoint_every=500, snapshot_every=500, log_every=50, checkpoint_minutes=1e6
    )
    pictures = arguments.content, arguments.style
    print("| pair | with folder, s | without, s | ratio | waited, s | share |\n|---|---|---|---|---|---|")
    time_writer()
    ratios, shares = [], []
    for pair in range(arguments.pairs):
        written, bare = Watch(), Watch()
        # The order alternates from pair to pair.
        order = [(written, arguments.out / f"timed-{pair}"), (bare, None)]
        before = waited
        for watch, out in order if pair % 2 else order[::-1]:
            stylize(*pictures, experiment=short, out=out, listener=watch)
        ratios.append(written.seconds / bare.seconds)
        shares.append((waited - before) / written.seconds)
        figures = f"{ratios[-1]:.4f} | {waited - before:.3f} | {shares[-1]:.2%}"
        print(f"| {pair + 1} | {written.seconds:.2f} | {bare.seconds:.2f} | {figures} |", flush=True)
    print(f"\nratio: median {statistics.median(ratios):.4f}, from {min(ratios):.4f} to {max(ratios):.4f}")
    print(f"waited: median {statistics.median(shares):.2%}, from {min(shares):.2%} to {max(shares):.2%}\n")

    long = recipe.replace(
        size=64, steps=arguments.memory_steps, checkpoint_every=100, snapshot_every=1000, log_every=10
    )
    watch = Watch()
    stylize(*pictures, experiment=long, out=arguments.out / "memory", listener=watch)
    print("| step | resident memory, MiB |\n|---|---|")
    for step, size in watch.memory.items():
        print(f"| {step:,} | {size / 2**20:.1f} |")


if __name__ == "__main__":
    main()
