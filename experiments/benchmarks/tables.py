"""What a contest has measured, as a markdown table."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from interleaved import Outcome, Racer

BASELINE = "PyTorch float32"


@dataclass(frozen=True)
class Scale:
    """What a step is measured against.

    Args:
        operations: floating-point operations of a step, by the direct method.
        rates: {arithmetic: the device's rate in products of matrices, operations a second}.
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


def table(racers: Sequence[Racer], scale: Scale, *, steps: int) -> str:
    """One line a peer.

    Args:
        racers: what was measured.
        scale: what to compare with.
        steps: how many were made before the loss that is shown.
    """
    baseline = next((it for it in racers if it.peer.name == BASELINE), None)
    header = [it.format(steps=steps) for it in COLUMNS]
    rows = [header, ["---"] * len(header), *(_row(racer, baseline, scale) for racer in racers)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(racer: Racer, baseline: Racer | None, scale: Scale) -> list[str]:
    median = statistics.median(racer.seconds)
    rate = scale.rates.get(racer.peer.arithmetic)
    ratios, memory = ["–"] * 3, "–"
    if baseline:
        each = [own / other for own, other in zip(racer.seconds, baseline.seconds, strict=True)]
        ratios = [f"{it:.3f}" for it in (statistics.median(each), min(each), max(each))]
        memory = f"{_peak(racer) / _peak(baseline):.2f}"
    accuracy = ["–"] * 2
    if racer.gradient_error:
        accuracy = [f"{racer.gradient_error[0]:.7f}", f"{racer.gradient_error[1]:.1e}"]
    return [
        racer.peer.name,
        f"{median:.4g}",
        *ratios,
        f"{scale.operations / median / 1e9:.1f}",
        f"{scale.operations / median / rate:.0%}" if rate else "–",
        f"{_peak(racer) / 2**20:.0f}",
        memory,
        *accuracy,
        f"{racer.last_loss:.6g}",
        f"{racer.start_up:.1f}",
    ]


def _peak(racer: Racer) -> int:
    """Bytes: of the accelerator's memory where there is one, else resident."""
    return racer.memory["device"] or racer.memory["resident"] or 0


def conditions(outcome: Outcome, *, steps: int) -> str:
    """How much the waiting peers, and everything else on the machine, can have disturbed."""
    racers = outcome.racers
    turns = {it.peer.name: sum(it.seconds) * steps for it in racers}
    waiting = {it.peer.name: it.idle / (sum(turns.values()) - turns[it.peer.name]) for it in racers if len(racers) > 1}
    most = f"; a waiting peer used at most {max(waiting.values()):.2f} cores" if waiting else ""
    return f"Meanwhile, other processes used {outcome.elsewhere:.2f} cores{most}."
