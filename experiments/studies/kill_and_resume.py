"""A long run that is killed and resumed a hundred times, compared with the same run in one go.

    python experiments/studies/kill_and_resume.py CONTENT STYLE --out runs/kills

makes the 30,000 steps of the ``long-run`` recipe twice at 64 pixels on a narrow random VGG19: in one go, and killed by
SIGKILL and resumed until done. The second run is killed ten times each while it compiles, makes steps, and writes
checkpoints, snapshots, metrics and the report, and forty times at random. After each kill all visible files of the
folder must be whole; at the end, the picture, the snapshots, the final state and the metrics must be the same. Prints
two tables, and exits with 1 if something differs. About ten minutes on two CPU cores; about one minute with ``--each 1
--random 2 --steps 1000``.
"""

import argparse
import hashlib
import json
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from narrow_vgg19 import write_narrow_weights
from PIL import Image

from nstjax import cli
from nstjax.callbacks import TIMES
from nstjax.runs import loop
from nstjax.storage.run_folder import RunFolder

PLACES = ("compilation", "chunk", "checkpoint", "snapshot", "metrics", "report")
MAX_VISITS = {"compilation": 2, "chunk": 3, "checkpoint": 6, "snapshot": 3, "metrics": 4, "report": 4}
MAX_VISITS |= {"random": 1, "progress": 1}
"""Number of times that a process soon reaches each place; it is killed at one of them."""
SNAPSHOTS = (0.1, 0.3, 17 / 30, 23 / 30, 1.0)
"""The steps of the recipe's snapshots, as parts of all steps."""


# Functions of the process that is killed: it runs the command line and pauses at one place.


def wait_for_kill() -> None:
    """Print that the place is reached, and wait to be killed."""
    print("here", flush=True)
    time.sleep(3600)


def pause_in_calls(owner: Any, name: str, nth: int) -> None:
    """Pause in the n-th call of a function, after its work and before it returns."""
    original, calls = getattr(owner, name), 0

    def call(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        result = original(*arguments, **options)
        if calls == nth:
            wait_for_kill()
        return result

    setattr(owner, name, call)


def pause_in_log(nth: int) -> None:
    """Pause in the n-th line of the metrics, after half of the line is written."""
    original, calls = RunFolder.log, 0

    def log(folder: RunFolder, line: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == nth:
            with folder.metrics.open("a") as file:
                file.write(json.dumps(dict(line))[: 20 + nth])
            wait_for_kill()
        original(folder, line)

    setattr(RunFolder, "log", log)  # noqa: B010


def pause_in_files(pattern: str, nth: int) -> None:
    """Pause before a file or folder whose path matches is opened, made, renamed or removed for the n-th time."""
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event in ("open", "os.mkdir", "os.rename", "shutil.rmtree") and not isinstance(arguments[0], int):
            if event == "open" and "r" in str(arguments[1] or "r"):
                return
            if any(re.search(pattern, str(path)) for path in arguments[:2]):
                count += 1
                if count == nth:
                    wait_for_kill()

    sys.addaudithook(hook)


def run_with_pause(place: str, nth: int, arguments: list[str]) -> int:
    """Run the command line with a pause at the given place."""
    if place == "compilation":
        import jax

        pause_in_calls(jax.stages.Lowered, "compile", nth)
    elif place == "chunk":
        pause_in_calls(loop.jax, "block_until_ready", nth)
    elif place == "metrics":
        pause_in_log(nth)
    elif place in ("checkpoint", "snapshot"):
        pause_in_files(f"/{place}s/", nth)
    elif place == "report":
        pause_in_files(r"(output|sheet|curves|report)\.(png|svg|html)$", nth)
    return cli.main(arguments)


# Functions of the process that kills.


def start(place: str, nth: int, arguments: list[str]) -> subprocess.Popen[str]:
    """Start a process that pauses at the given place."""
    command = [sys.executable, __file__, "--inside", place, str(nth), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kill_where_it_pauses(process: subprocess.Popen[str]) -> bool:
    """Kill a process where it pauses; return whether it was killed before it had finished."""
    assert process.stdout is not None
    if process.stdout.readline() == "here\n":
        process.kill()
    return wait_for_end(process)


def kill_at_step(process: subprocess.Popen[str], out: Path, step: int, *, at_most: float = 1e9) -> bool:
    """Kill a process at a checkpoint of this or a later step, or after `at_most` seconds; return if it was killed."""
    deadline = time.monotonic() + at_most
    while find_last_step(out) < step and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    return wait_for_end(process)


def wait_for_end(process: subprocess.Popen[str]) -> bool:
    """Wait for the end of a process; return whether it was killed."""
    _, errors = process.communicate()
    if process.returncode not in (0, -signal.SIGKILL):
        raise SystemExit(f"a process ended with {process.returncode}:\n{errors}")
    return process.returncode != 0


def check_visible_files(out: Path) -> None:
    """Raise if a visible file of the folder is not whole."""
    for path in sorted(out.rglob("*")):
        relative = path.relative_to(out)
        if path.is_dir() or any(part.startswith(".") for part in relative.parts):
            continue
        if path.suffix == ".png":
            with Image.open(path) as picture:
                picture.load()
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".npy":
            np.load(path)
        elif path.suffix in (".html", ".svg"):
            assert path.read_text().rstrip().endswith(("</html>", "</svg>")), path
        elif path.suffix == ".jsonl":
            for line in path.read_text().split("\n")[:-1]:
                json.loads(line)
    for seal in out.glob("checkpoints/[0-9]*/seal.json"):
        for name, digest in json.loads(seal.read_text())["files"].items():
            assert hashlib.sha256((seal.parent / name).read_bytes()).hexdigest() == digest, seal.parent / name
    assert len(list(out.glob("checkpoints/[0-9]*"))) == len(list(out.glob("checkpoints/[0-9]*/seal.json")))


def find_last_step(out: Path) -> int:
    """Return the step of the newest checkpoint, or 0."""
    return max((int(path.name) for path in out.glob("checkpoints/[0-9]*")), default=0)


def collect_results(out: Path) -> dict[str, Any]:
    """Collect the results that must be the same in both runs."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    seal = json.loads((out / "checkpoints" / str(find_last_step(out)) / "seal.json").read_text())
    return {
        "output.png": (out / "output.png").read_bytes(),
        "final state": seal["leaves"],
        "snapshots": {path.name: path.read_bytes() for path in out.glob("snapshots/*.png")},
        "sheet.png": (out / "sheet.png").read_bytes(),
        "metrics": [
            {name: value for name, value in line.items() if name not in TIMES or name == "step"} for line in lines
        ],
    }


def choose_place(
    wanted: Counter[str], out: Path, arguments: argparse.Namespace, generator: random.Random
) -> tuple[str | None, int]:
    """Choose the place of the next kill, given {place: kills still to make}.

    Returns:
        (place, step): the place is None once all kills are made; "progress" kills after a checkpoint of that step.
    """
    step, every = find_last_step(out), arguments.checkpoint_every
    if step == arguments.steps:
        return ("report" if wanted["report"] else None), step
    next_steps = [arguments.steps]
    for index, part in enumerate(SNAPSHOTS):
        snapshot = round(part * arguments.steps)
        # The kills are shared between the snapshots.
        if step <= snapshot and wanted["snapshot"] > arguments.each * (1 - (index + 1) / len(SNAPSHOTS)):
            if snapshot - step <= 2 * every:
                return "snapshot", step
            next_steps.append(snapshot - every)
    # The other kills are spread over the first 80 % of the run, since all of them must come before its end.
    places = ("compilation", "chunk", "checkpoint", "metrics", "random")
    choices = [place for place in places for _ in range(wanted[place])]
    if choices:
        done = 1 - len(choices) / (4 * arguments.each + arguments.random)
        next_step = int(0.8 * done * arguments.steps)
        if step >= next_step:
            # Fixed places are preferred, since there are more random kills.
            fixed = [place for place in choices if place != "random"]
            return generator.choice(fixed if fixed and generator.random() < 0.7 else choices), step
        next_steps.append(next_step)
    return "progress", min(next_steps)


def main() -> int:
    """Make both runs, compare them and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("content")
    parser.add_argument("style")
    parser.add_argument("--out", type=Path, required=True, help="new folder for both runs")
    parser.add_argument("--steps", type=int, default=30_000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--checkpoint-every", type=int, default=250)
    parser.add_argument("--each", type=int, default=10, help="kills at each place")
    parser.add_argument("--random", type=int, default=40, help="kills at random times")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True)
    weights = arguments.out / "narrow.safetensors"
    write_narrow_weights(weights)
    whole, out = arguments.out / "whole", arguments.out / "killed"
    snapshots = ",".join(str(round(part * arguments.steps)) for part in SNAPSHOTS)
    run = ["run", arguments.content, arguments.style, "--preset", "long-run", "--weights", str(weights), "--quiet"]
    run += ["--steps", str(arguments.steps), "--size", str(arguments.size), "--snapshots", snapshots]
    run += ["--checkpoint-every", str(arguments.checkpoint_every)]

    begun = time.monotonic()
    process = start("nowhere", 0, [*run, "--out", str(whole)])
    while find_last_step(whole) == 0 and process.poll() is None:
        time.sleep(0.05)
    first_checkpoint_seconds = time.monotonic() - begun
    assert not wait_for_end(process)
    print(f"{arguments.steps:,} steps in one go: {time.monotonic() - begun:.0f} s", flush=True)

    generator = random.Random(arguments.seed)
    wanted: Counter[str] = Counter({place: arguments.each for place in PLACES})
    wanted["random"] = arguments.random
    kills: Counter[str] = Counter()
    processes, begun = 0, time.monotonic()
    while True:
        place, target = choose_place(wanted, out, arguments, generator)
        if place is None:
            break
        resumable = (out / "config.json").exists()
        command = ["resume", str(out), "--quiet"] if resumable else [*run, "--out", str(out)]
        process = start(place, generator.randint(1, MAX_VISITS[place]), command)
        processes += 1
        if place == "random":
            killed = kill_at_step(
                process, out, find_last_step(out) + 1, at_most=generator.uniform(0, 1.2 * first_checkpoint_seconds)
            )
        elif place == "progress":
            killed = kill_at_step(process, out, target)
        else:
            killed = kill_where_it_pauses(process)
        if killed:
            kills[place] += 1
            wanted[place] -= 1
            check_visible_files(out)
    processes += 1
    assert not wait_for_end(start("nowhere", 0, ["resume", str(out), "--quiet"]))
    check_visible_files(out)

    print(f"killed {kills.total()} times, {processes} processes, {time.monotonic() - begun:.0f} s\n")
    print("| killed in | times |\n|---|---|")
    names = {"random": "anywhere, at a random time", "progress": "anywhere, after a checkpoint"}
    for place, times in kills.items():
        print(f"| {names.get(place, place)} | {times} |")
    print("\n| of the two runs | |\n|---|---|")
    expected, results = collect_results(whole), collect_results(out)
    for name in expected:
        print(f"| {name} | {'the same' if results[name] == expected[name] else 'DIFFERENT'} |")
    leftovers = [path for path in out.rglob("*") if path.name.endswith((".part", ".old"))]
    print(f"| leftovers of killed processes | {len(leftovers)} |")
    complete = all(kills[place] >= arguments.each for place in PLACES)
    return 0 if results == expected and not leftovers and complete else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        sys.exit(run_with_pause(sys.argv[2], int(sys.argv[3]), sys.argv[4:]))
    sys.exit(main())
