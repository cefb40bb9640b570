"""Kill a long run a hundred times, and see that it ends as if nothing had happened.

    python experiments/studies/kill_and_resume.py CONTENT STYLE --out runs/kills

makes the ``long-run`` recipe's 30,000 steps twice at 64 pixels on a narrow random VGG19: in one go, and killed by
SIGKILL and resumed until done. It is killed ten times each while it compiles, makes steps, and writes checkpoints,
snapshots, metrics and the report, and forty times at random. After each kill, what is visible in the folder must be
whole; at the end, the picture, the snapshots, the final state and the metrics must be the same. Prints a table, and
exits with 1 if one is not. About ten minutes on two CPU cores; ``--each 1 --random 2 --steps 1000`` about a minute.
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
MOST = {"compilation": 2, "chunk": 3, "checkpoint": 6, "snapshot": 3, "metrics": 4, "report": 4}
MOST |= {"random": 1, "progress": 1}
"""How often a process comes by such a place before long."""
SNAPSHOTS = (0.1, 0.3, 17 / 30, 23 / 30, 1.0)
"""Of the recipe, as parts of its steps."""


# In the process that is killed: the command line, with a pause at one place.


def here() -> None:
    """Say that the place is reached, and wait to be killed."""
    print("here", flush=True)
    time.sleep(3600)


def pause_in_calls(owner: Any, name: str, nth: int) -> None:
    """Pause in the n-th call of a function, once it has done its work and before it returns."""
    original, calls = getattr(owner, name), 0

    def paused(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        result = original(*arguments, **options)
        if calls == nth:
            here()
        return result

    setattr(owner, name, paused)


def pause_in_log(nth: int) -> None:
    """Pause in the n-th line of the metrics, when half of it is written."""
    original, calls = RunFolder.log, 0

    def log(folder: RunFolder, line: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == nth:
            with folder.metrics.open("a") as file:
                file.write(json.dumps(dict(line))[: 20 + nth])
            here()
        original(folder, line)

    setattr(RunFolder, "log", log)  # noqa: B010


def pause_in_files(pattern: str, nth: int) -> None:
    """Pause when a file or folder whose path fits is about to be opened, made, renamed or removed for the n-th time."""
    seen = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event in ("open", "os.mkdir", "os.rename", "shutil.rmtree") and not isinstance(arguments[0], int):
            if event == "open" and "r" in str(arguments[1] or "r"):
                return
            if any(re.search(pattern, str(it)) for it in arguments[:2]):
                seen += 1
                if seen == nth:
                    here()

    sys.addaudithook(hook)


def killed(place: str, nth: int, arguments: list[str]) -> int:
    """Run the command line with a pause at a place."""
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


# In the process that kills.


def start(place: str, nth: int, arguments: list[str]) -> subprocess.Popen[str]:
    """Start a process that is to be killed."""
    command = [sys.executable, __file__, "--inside", place, str(nth), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kill_where_it_pauses(process: subprocess.Popen[str]) -> bool:
    """Kill a process at the place where it was told to pause; returns whether it was killed before it was done."""
    assert process.stdout is not None
    if process.stdout.readline() == "here\n":
        process.kill()
    return ended(process)


def kill_at_step(process: subprocess.Popen[str], out: Path, step: int, *, at_most: float = 1e9) -> bool:
    """Likewise, once it has a checkpoint of this step or a later one, or after so many seconds."""
    until = time.monotonic() + at_most
    while step_of(out) < step and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    process.kill()
    return ended(process)


def ended(process: subprocess.Popen[str]) -> bool:
    """Wait for its end; returns whether it was killed."""
    _, errors = process.communicate()
    if process.returncode not in (0, -signal.SIGKILL):
        raise SystemExit(f"a process ended with {process.returncode}:\n{errors}")
    return process.returncode != 0


def check_visible(out: Path) -> None:
    """That every file that is visible in the folder is whole."""
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


def step_of(out: Path) -> int:
    """The newest checkpoint's."""
    return max((int(path.name) for path in out.glob("checkpoints/[0-9]*")), default=0)


def left_to_compare(out: Path) -> dict[str, Any]:
    """What the two runs must have in common."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    seal = json.loads((out / "checkpoints" / str(step_of(out)) / "seal.json").read_text())
    return {
        "output.png": (out / "output.png").read_bytes(),
        "final state": seal["leaves"],
        "snapshots": {path.name: path.read_bytes() for path in out.glob("snapshots/*.png")},
        "sheet.png": (out / "sheet.png").read_bytes(),
        "metrics": [{name: it for name, it in line.items() if name not in TIMES or name == "step"} for line in lines],
    }


def next_place(
    wanted: Counter[str], out: Path, arguments: argparse.Namespace, draw: random.Random
) -> tuple[str | None, int]:
    """Where to kill next, None where nothing more is wanted; and of "progress", after which step."""
    step, every = step_of(out), arguments.checkpoint_every
    if step == arguments.steps:
        return ("report" if wanted["report"] else None), step
    due = [arguments.steps]
    for index, part in enumerate(SNAPSHOTS):
        at = round(part * arguments.steps)
        # Each of them has its share of the kills.
        if step <= at and wanted["snapshot"] > arguments.each * (1 - (index + 1) / len(SNAPSHOTS)):
            if at - step <= 2 * every:
                return "snapshot", step
            due.append(at - every)
    # The others are spread over the run, but for its end, which all of them must come before.
    choices = [it for it in ("compilation", "chunk", "checkpoint", "metrics", "random") for _ in range(wanted[it])]
    if choices:
        done = 1 - len(choices) / (4 * arguments.each + arguments.random)
        at = int(0.8 * done * arguments.steps)
        if step >= at:
            # The places before the random ones, of which there are more.
            places = [it for it in choices if it != "random"]
            return draw.choice(places if places and draw.random() < 0.7 else choices), step
        due.append(at)
    return "progress", min(due)


def main() -> int:
    """Make both runs, compare, print the table."""
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
    while step_of(whole) == 0 and process.poll() is None:
        time.sleep(0.05)
    first = time.monotonic() - begun
    assert not ended(process)
    print(f"{arguments.steps:,} steps in one go: {time.monotonic() - begun:.0f} s", flush=True)

    draw = random.Random(arguments.seed)
    wanted: Counter[str] = Counter({place: arguments.each for place in PLACES})
    wanted["random"] = arguments.random
    kills: Counter[str] = Counter()
    processes, begun = 0, time.monotonic()
    while True:
        place, target = next_place(wanted, out, arguments, draw)
        if place is None:
            break
        begins = not (out / "config.json").exists()
        command = [*run, "--out", str(out)] if begins else ["resume", str(out), "--quiet"]
        process = start(place, draw.randint(1, MOST[place]), command)
        processes += 1
        if place == "random":
            killed = kill_at_step(process, out, step_of(out) + 1, at_most=draw.uniform(0, 1.2 * first))
        elif place == "progress":
            killed = kill_at_step(process, out, target)
        else:
            killed = kill_where_it_pauses(process)
        if killed:
            kills[place] += 1
            wanted[place] -= 1
            check_visible(out)
    processes += 1
    assert not ended(start("nowhere", 0, ["resume", str(out), "--quiet"]))
    check_visible(out)

    print(f"killed {kills.total()} times, {processes} processes, {time.monotonic() - begun:.0f} s\n")
    print("| killed in | times |\n|---|---|")
    names = {"random": "anywhere, at a random time", "progress": "anywhere, after a checkpoint"}
    for place, times in kills.items():
        print(f"| {names.get(place, place)} | {times} |")
    print("\n| of the two runs | |\n|---|---|")
    theirs, ours = left_to_compare(whole), left_to_compare(out)
    for name in theirs:
        print(f"| {name} | {'the same' if theirs[name] == ours[name] else 'DIFFERENT'} |")
    leftovers = [path for path in out.rglob("*") if path.name.endswith((".part", ".old"))]
    print(f"| leftovers of killed processes | {len(leftovers)} |")
    return 0 if theirs == ours and not leftovers and all(kills[it] >= arguments.each for it in PLACES) else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        sys.exit(killed(sys.argv[2], int(sys.argv[3]), sys.argv[4:]))
    sys.exit(main())
