"""The measurements of a comparison, as a markdown table."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from interleaved import Comparison, PeerRun

BASELINE = "PyTorch float32"


@dataclass(frozen=True)
class Scale:
    """The scale on which steps are measured.

    Args:
        operations: floating-point operations of a step, by the direct method.
        rates: {arithmetic: rate of the device's matrix products, operations per second}.
    """

    operations: int
    rates: Mapping[str, float]


COLUMNS = (
    "peer",
    "s a step",
    "time / PyTorch",
    "from",
    "to",
    "GFLOP/s",
    "of the matrix rate",
    "peak memory, MiB",
    "memory / PyTorch",
    "gradient: cosine",
    "relative error",
    "loss after {steps}",
    "start-up, s",
)


def format_table(runs: Sequence[PeerRun], scale: Scale, *, steps: int) -> str:
    """Format a table with one row per peer.

    Args:
        runs: the measurements.
        scale: the scale of a step.
        steps: number of steps made before the loss that is shown.
    """
    pytorch = [run for run in runs if run.peer.library == "torch"]
    baseline = next((run for run in pytorch if run.peer.name == BASELINE), next(iter(pytorch), None))
    header = [column.format(steps=steps) for column in COLUMNS]
    rows = [header, ["---"] * len(header), *(_format_row(run, baseline, scale) for run in runs)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _format_row(run: PeerRun, baseline: PeerRun | None, scale: Scale) -> list[str]:
    median = statistics.median(run.seconds)
    rate = scale.rates.get(run.peer.arithmetic)
    ratios, memory = ["–"] * 3, "–"
    if baseline:
        by_round = [mine / base for mine, base in zip(run.seconds, baseline.seconds, strict=True)]
        ratios = [f"{ratio:.3f}" for ratio in (statistics.median(by_round), min(by_round), max(by_round))]
        memory = f"{_peak_memory(run) / _peak_memory(baseline):.2f}"
    accuracy = ["–"] * 2
    if run.gradient_error:
        accuracy = [f"{run.gradient_error[0]:.7f}", f"{run.gradient_error[1]:.1e}"]
    return [
        run.peer.name,
        f"{median:.4g}",
        *ratios,
        f"{scale.operations / median / 1e9:.1f}",
        f"{scale.operations / median / rate:.0%}" if rate else "–",
        f"{_peak_memory(run) / 2**20:.0f}",
        memory,
        *accuracy,
        f"{run.last_loss:.6g}",
        f"{run.start_up:.1f}",
    ]


def _peak_memory(run: PeerRun) -> int:
    """Return the peak bytes of the accelerator's memory, or of resident memory without an accelerator."""
    return run.memory["device"] or run.memory["resident"] or 0


def format_conditions(comparison: Comparison, *, steps: int) -> str:
    """Format a line that says how busy the waiting peers and the rest of the machine were."""
    runs = comparison.runs
    turns = {run.peer.name: sum(run.seconds) * steps for run in runs}
    waiting = [run.idle_seconds / (sum(turns.values()) - turns[run.peer.name]) for run in runs if len(runs) > 1]
    most = f"; a waiting peer used at most {max(waiting):.2f} cores" if waiting else ""
    return f"Meanwhile, other processes used {comparison.other_load:.2f} cores{most}."
