"""Peers side by side: checked to compute the same, timed in turn."""

import contextlib
import math
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import psutil
from peers.processes import Arithmetic, Failed, Peer, Process, Setting, running

from nstjax.errors import UserError

TOLERANCE: dict[Arithmetic, float] = {"float32": 1e-3, "tf32": 2e-2, "bfloat16": 2e-2}
"""How far a peer's first loss may be from the reference's, relative to it."""

INSTALLING = {
    "torch": ("PyTorch", "pip install torch numpy", "--torch-python"),
    "tensorflow": ("TensorFlow", "pip install tensorflow", "--tensorflow-python"),
}


@dataclass
class Racer:
    """A peer that runs, and what is measured of it.

    Args:
        peer: which one.
        process: its process.
        versions: of its packages.
        start_up: seconds from its process's start to the end of its first step: imports, loading, compilation.
        first_loss: of the start.
        last_loss: of the last timed step.
        seconds: of a step, in each round.
        idle: seconds of the processor that it has used in the others' turns.
        memory: the answer to "memory".
        gradient_error: (cosine, relative norm of the difference) to the reference; None without one.
    """

    peer: Peer
    process: Process
    versions: Mapping[str, str]
    start_up: float
    first_loss: float
    last_loss: float = math.nan
    seconds: list[float] = field(default_factory=list)
    idle: float = 0.0
    memory: Mapping[str, int | None] = field(default_factory=dict)
    gradient_error: tuple[float, float] | None = None


def missing(peers: Iterable[Peer], pythons: Mapping[str, str]) -> dict[str, str]:
    """{library: the line that says that its peers are left out, and what to do}."""
    lines = {}
    for library in dict.fromkeys(peer.library for peer in peers):
        python = pythons.get(library)
        if library in INSTALLING and not (python and Path(python).exists()):
            name, installation, option = INSTALLING[library]
            why = f"there is no {python}" if python else "no interpreter that has it is known"
            lines[library] = (
                f"{name} is left out: {why}; make an environment, {installation} in it, and say {option} ENV/bin/python"
            )
    return lines


def reference(setting: Setting) -> tuple[float, np.ndarray] | None:
    """(loss, gradient [H, W, 3]) of the start, by PyTorch in float64; None where there is no PyTorch."""
    peer = Peer("reference", "torch", {"dtype": "float64"})
    if missing([peer], setting.pythons):
        return None
    with running(peer, setting) as process:
        process.ask("load", path=str(setting.task), device=setting.device, **peer.options)
        path = setting.folder / "reference.npy"
        return process.ask("gradient", path=str(path))["loss"], np.load(path)


def start(peer: Peer, setting: Setting, stack: contextlib.ExitStack) -> Racer:
    """Start a peer and have it make its first step."""
    begun = time.perf_counter()
    process = stack.enter_context(running(peer, setting))
    versions = process.ask("load", path=str(setting.task), device=setting.device, **peer.options)["versions"]
    first = process.ask("step", steps=1)["loss"]
    return Racer(peer, process, versions, time.perf_counter() - begun, first)


def check_agreement(racers: Sequence[Racer], expected: float) -> None:
    """That all have the same first loss.

    Raises:
        UserError: one has not, so it does not make the step that the others make.
    """
    for racer in racers:
        far = abs(racer.first_loss / expected - 1)
        allowed = TOLERANCE[racer.peer.arithmetic]
        if not far <= allowed:
            raise UserError(
                f"{racer.peer.name} computes something else: its first loss is {racer.first_loss:.7g}, a relative "
                f"{far:.1e} from {expected:.7g}, where {racer.peer.arithmetic} may be {allowed:.0e} off"
            )


def busy_seconds() -> float:
    """What everything on this machine has used of its processors."""
    times = psutil.cpu_times()
    return times.user + times.nice + times.system


def race(racers: Sequence[Racer], *, rounds: int, steps: int) -> float:
    """Time all peers in turn, after a warm-up, each first in its turn; the others wait meanwhile.

    Returns:
        How many cores, on average, whatever else runs on this machine has used meanwhile.

    Raises:
        Failed: a peer has failed, or its loss is no longer finite.
    """
    begun, used = 0.0, 0.0
    for turn in range(-1, rounds):
        if turn == 0:
            begun, used = time.perf_counter(), busy_seconds() - sum(it.process.processor_seconds() for it in racers)
        shift = turn % len(racers)
        for racer in (*racers[shift:], *racers[:shift]):
            before = {id(it): it.process.processor_seconds() for it in racers}
            answer = racer.process.ask("step", steps=steps)
            racer.last_loss = answer["loss"]
            if not math.isfinite(racer.last_loss):
                raise Failed(f"{racer.peer.name}'s loss is {racer.last_loss}")
            if turn < 0:
                continue
            racer.seconds.append(answer["seconds"] / steps)
            for other in racers:
                if other is not racer:
                    other.idle += other.process.processor_seconds() - before[id(other)]
    used = busy_seconds() - sum(it.process.processor_seconds() for it in racers) - used
    return max(used, 0.0) / (time.perf_counter() - begun)


def gradient_error(gradient: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """(cosine, relative norm of the difference) to the expected one, in float64."""
    found, expected = gradient.astype(np.float64), expected.astype(np.float64)
    norm = np.linalg.norm(expected)
    cosine = np.vdot(found, expected) / (np.linalg.norm(found) * norm)
    return float(cosine), float(np.linalg.norm(found - expected) / norm)


@dataclass(frozen=True)
class Outcome:
    """What a contest has found.

    Args:
        racers: what was measured of each peer.
        notes: a line for whatever is left out.
        elsewhere: how many cores, on average, were busy with something else.
    """

    racers: list[Racer]
    notes: list[str]
    elsewhere: float


def compete(peers: Sequence[Peer], setting: Setting, *, rounds: int, steps: int) -> Outcome:
    """Run the whole contest.

    Raises:
        UserError: two peers do not compute the same.
        Failed: a peer that had started has failed later.
    """
    without = missing(peers, setting.pythons)
    notes, racers, elsewhere, expected = list(without.values()), [], 0.0, None
    try:
        expected = reference(setting)
    except Failed as failure:
        notes.append(f"Gradients are not compared: PyTorch's float64 has failed: {failure}")
    with contextlib.ExitStack() as stack:
        for peer in peers:
            if peer.library in without:
                continue
            try:
                racers.append(start(peer, setting, stack))
            except Failed as failure:
                notes.append(f"{peer.name} is left out: {failure}")
        if racers:
            exact = [racer.first_loss for racer in racers if racer.peer.arithmetic == "float32"]
            check_agreement(racers, expected[0] if expected else [*exact, racers[0].first_loss][0])
            elsewhere = race(racers, rounds=rounds, steps=steps)
        for racer in racers:
            racer.memory = racer.process.ask("memory")
            if expected:
                path = setting.folder / "gradient.npy"
                racer.process.ask("gradient", path=str(path))
                racer.gradient_error = gradient_error(np.load(path), expected[1])
    return Outcome(racers, notes, elsewhere)


def interpreters(torch: str | None, tensorflow: str | None) -> dict[str, str]:
    """{library: its interpreter}: this one, where it has the library and no other is said."""
    found = {"nstjax": sys.executable}
    for library, said in (("torch", torch), ("tensorflow", tensorflow)):
        if said or find_spec(library):
            found[library] = said or sys.executable
    return found
