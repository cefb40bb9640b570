"""Long runs of every kind that are killed and resumed many times, compared with the same runs in one go.

    python experiments/studies/kill_and_resume.py CONTENT STYLE --out runs/kills

makes each kind of run (``kill_kinds.py``) on a narrow random VGG19 in one go, and again killed by SIGKILL and resumed
until done: three times at each place that it reaches (``kill_places.py``), and at random times. A run that is over
before it is killed that often is followed by another one of its kind. After each kill all visible files of the folder
must be whole; at the end, every result must be the same (``kill_results.py``). The runs called watched are read by
other processes all the while (``kill_watcher.py``). Prints two tables, and exits with 1 if something differs. About an
hour on two CPU cores; one or two minutes for a kind with ``--kind NAME --each 1 --random 1``.
"""

import argparse
import contextlib
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kill_kinds import AT_THE_END, KINDS, SIZES, SWEEP, Kind
from kill_places import SIGNAL
from kill_results import check_visible_files, collect_results, count_steps, list_leftovers
from narrow_vgg19 import write_narrow_weights

PLACES, WATCHER = Path(__file__).with_name("kill_places.py"), Path(__file__).with_name("kill_watcher.py")
LEFTOVERS = "leftovers of killed processes"


@dataclass(frozen=True)
class Uninterrupted:
    """A run in one go, and what its killed twins need to know.

    Args:
        command: its arguments without the folder.
        results: what it ended with.
        first_seconds: seconds from its start to its first checkpoint.
    """

    command: list[str]
    results: dict[str, dict[str, Any]]
    first_seconds: float


def start(place: str, nth: int, arguments: list[str]) -> subprocess.Popen[str]:
    """Start a process that pauses at the given place."""
    command = [sys.executable, str(PLACES), place, str(nth), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_end(process: subprocess.Popen[str]) -> bool:
    """Wait for the end of a process; return whether it was killed."""
    _, errors = process.communicate()
    if process.returncode not in (0, -signal.SIGKILL):
        raise SystemExit(f"{process.args} ended with {process.returncode}:\n{errors}")
    return process.returncode != 0


def run_in_one_go(kind: Kind, command: list[str], out: Path) -> Uninterrupted:
    """Make a run of this kind that nothing stops."""
    begun, first_seconds = time.monotonic(), 0.0
    process = start("nowhere", 0, [*command, "--out", str(out)])
    while process.poll() is None and not first_seconds:
        time.sleep(0.02)
        first_seconds = (time.monotonic() - begun) * (count_steps(out) > 0)
    assert not wait_for_end(process) and not list_leftovers(out)
    print(f"in one go: {time.monotonic() - begun:.0f} s", flush=True)
    return Uninterrupted(command, collect_results(out), first_seconds)


def choose_place(wanted: Counter[str], *, begun: bool, over: bool, generator: random.Random) -> str | None:
    """Choose the place of the next kill.

    Args:
        wanted: {place: kills still to make}.
        begun: whether the run can be resumed.
        over: whether all of its steps are made.
        generator: the random numbers.

    Returns:
        The place; None if no other kill that is wanted can be made in this run.
    """
    places = [*wanted.elements()]
    if begun:
        places = [place for place in places if place != "beginning"]
    elif wanted["beginning"]:
        return "beginning"
    if over:
        places = [place for place in places if place in ("records", "random", *AT_THE_END)]
    # A kill at the end leaves no steps for the others.
    before_the_end = [place for place in places if place not in AT_THE_END]
    return generator.choice(before_the_end or places) if places else None


def kill_once(place: str, kind: Kind, command: list[str], most_seconds: float, generator: random.Random) -> bool:
    """Run a command and kill it; return whether it was killed before it had finished."""
    if place != "random":
        process = start(place, generator.randint(*kind.places[place]), command)
        assert process.stdout is not None
        if process.stdout.readline() == SIGNAL:
            process.kill()
        return wait_for_end(process)
    process = start("nowhere", 0, command)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(generator.uniform(0, most_seconds))
    process.kill()
    return wait_for_end(process)


def kill_until_over(
    kind: Kind, uninterrupted: Uninterrupted, out: Path, wanted: Counter[str], generator: random.Random
) -> Counter[str]:
    """Make a run that is killed where it is wanted, and resumed until it is over; return {place: kills}."""
    kills: Counter[str] = Counter()
    over = False
    resume, begin = ["resume", str(out), "--quiet"], [*uninterrupted.command, "--out", str(out)]
    while True:
        begun = (out / kind.record).exists()
        place = choose_place(wanted - kills, begun=begun, over=over, generator=generator)
        command = resume if begun else begin
        if place is None:
            assert not wait_for_end(start("nowhere", 0, command))
            return kills
        if kill_once(place, kind, command, 1.3 * uninterrupted.first_seconds, generator):
            kills[place] += 1
            check_visible_files(out)
        else:
            over = True


@contextlib.contextmanager
def watch(kind: Kind, out: Path) -> Iterator[None]:
    """Read the status and write the report of a watched run again and again."""
    stop = out.with_name(f"{out.name}-over")
    commands = ("status", "report") if kind.watched else ()
    watchers = [
        subprocess.Popen(
            [sys.executable, str(WATCHER), command, str(out), str(stop)], stdout=subprocess.PIPE, text=True
        )
        for command in commands
    ]
    try:
        yield
    finally:
        stop.touch()
        counts = [watcher.communicate()[0].strip() for watcher in watchers]
    for command, watcher, count in zip(commands, watchers, counts, strict=True):
        if watcher.returncode:
            raise SystemExit(f"nstjax {command} failed while the run was killed")
        print(f"nstjax {command} read it {count} times", flush=True)


def compare(expected: dict[str, dict[str, Any]], out: Path) -> dict[str, str]:
    """Compare the results of a run with those expected; return {name: "the same", or what differs}."""
    results = collect_results(out)
    comparison = {}
    for name in expected.keys() | results.keys():
        one, other = expected.get(name, {}), results.get(name, {})
        different = sorted(path for path in one.keys() | other.keys() if one.get(path) != other.get(path))
        comparison[name] = f"DIFFERENT: {', '.join(different)}" if different else "the same"
    leftovers = [str(path.relative_to(out)) for path in list_leftovers(out)]
    return comparison | {LEFTOVERS: ", ".join(leftovers) or "none"}


def study(
    name: str, command: list[str], folder: Path, arguments: argparse.Namespace
) -> tuple[Counter[str], list[dict[str, str]]]:
    """Kill runs of one kind as often as it is wanted; return {place: kills} and the comparison of each run."""
    kind, generator = KINDS[name], random.Random(f"{arguments.seed} {name}")
    print(f"\n{name}", flush=True)
    uninterrupted = run_in_one_go(kind, command, folder / "whole")
    places = [place for place in kind.places if place in (arguments.place or kind.places)]
    wanted = Counter(dict.fromkeys(places, arguments.each) | {"random": arguments.random})
    kills: Counter[str] = Counter()
    comparisons = []
    begun = time.monotonic()
    while rest := wanted - kills:
        out = folder / f"killed-{len(comparisons) + 1}"
        with watch(kind, out):
            made = kill_until_over(kind, uninterrupted, out, rest, generator)
        check_visible_files(out)
        comparisons.append(compare(uninterrupted.results, out))
        print(f"killed {made.total()} times: {comparisons[-1]}", flush=True)
        kills += made
    print(f"{kills.total()} kills of {len(comparisons)} runs in {time.monotonic() - begun:.0f} s", flush=True)
    return kills, comparisons


def print_table(title: str, columns: list[str], rows: dict[str, list[str]]) -> None:
    """Print a table in Markdown."""
    print(f"\n| {title} | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
    for name, cells in rows.items():
        print(f"| {name} | {' | '.join(cells)} |")


def main() -> int:
    """Kill runs of every kind, and print what they ended with."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("content")
    parser.add_argument("style")
    parser.add_argument("--out", type=Path, required=True, help="new folder for all runs")
    parser.add_argument("--kind", choices=KINDS, action="append", help="only this kind; may be repeated")
    parser.add_argument("--place", choices=SWEEP | SIZES, action="append", help="only this place; may be repeated")
    parser.add_argument("--steps", type=int, default=1_200, help="steps of a run at one size")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--each", type=int, default=3, help="kills at each place, of each kind")
    parser.add_argument("--random", type=int, default=6, help="kills at random times, of each kind")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True)
    weights = arguments.out / "narrow.safetensors"
    write_narrow_weights(weights)
    names = arguments.kind or [*KINDS]
    kills, comparisons = {}, {}
    for name in names:
        verb, *options = KINDS[name].list_arguments(size=arguments.size, steps=arguments.steps)
        command = [verb, arguments.content, arguments.style, *options, "--weights", str(weights), "--quiet"]
        folder = arguments.out / name.replace(", ", "-").replace(" ", "-")
        folder.mkdir()
        kills[name], comparisons[name] = study(name, command, folder, arguments)

    places = dict.fromkeys(place for counts in kills.values() for place in counts)
    rows = {place: [str(kills[name][place] or "–") for name in names] for place in places}
    print_table("killed in", names, rows | {"all": [str(kills[name].total()) for name in names]})
    results = dict.fromkeys(result for kind in comparisons.values() for run in kind for result in run)
    rows = {
        result: ["; ".join(dict.fromkeys(run.get(result, "–") for run in comparisons[name])) for name in names]
        for result in results
    }
    print_table("of the killed runs", names, rows | {"runs": [str(len(comparisons[name])) for name in names]})
    good = {"the same", "none", "–"}
    return 0 if all(value in good for row in rows.values() for cell in row for value in cell.split("; ")) else 1


if __name__ == "__main__":
    sys.exit(main())
