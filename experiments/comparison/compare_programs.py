"""Every preset beside the program that it is named after, on the same pictures and weights.

    python experiments/comparison/compare_programs.py --out runs/programs

runs each preset, and the procedure of its source as ``programs/`` derives it, at the small sizes of
``program_cases.py``, with the same loss weights and, where the program draws a start, the same start. The folder then
holds a file for each preset, the pictures, ``programs.md`` and ``programs.jpg``. The same command continues an
interrupted comparison. Needs PyTorch. About an hour on one CPU core.
"""

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from program_cases import CASES, PURPOSES, Case
from program_page import write_page
from programs import PROCEDURES, Run, Task
from vgg16_as_vgg19 import complete

from nstjax.callbacks import Listener
from nstjax.experiment.experiment import load
from nstjax.images import examples
from nstjax.network import weights
from nstjax.runs import stylize
from nstjax.system import compilation_cache

PERTURBATION = 1e-6
"""Standard deviation of the noise that perturbs a start, on the [0, 1] scale: a few roundings of float32."""
SEEDS = (1, 2)
"""Seeds of the further runs that show how far equal runs differ."""


def crop(pixels: np.ndarray, aspect: tuple[int, int], long_side: int | None = None) -> np.ndarray:
    """Return the largest rectangle of an aspect in the middle of a picture, resized to a long side if one is given."""
    unit = min(length // part for length, part in zip(pixels.shape[:2], aspect, strict=True))
    height, width = (unit * part for part in aspect)
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    pixels = pixels[top : top + height, left : left + width]
    if long_side is None:
        return np.ascontiguousarray(pixels)
    shape = [round(part * long_side / max(aspect)) for part in aspect]
    return np.asarray(Image.fromarray(pixels).resize((shape[1], shape[0]), Image.Resampling.LANCZOS))


def make_task(preset: str, case: Case, network: weights.Weights) -> Task:
    """Return what the procedure of a preset gets: the pictures, the weights, and the preset's numbers."""
    pictures = []
    for k, (name, aspect) in enumerate((("portrait", case.content), ("brushwork", case.style))):
        pixels = np.rint(255 * examples.load(name).rgb).astype(np.uint8)
        pictures.append(crop(pixels, aspect, case.pixels and case.pixels[k]))
    config = load(preset).config_for(network.flavour.name)
    return Task(
        content=pictures[0],
        style=pictures[1],
        parameters=network.parameters,
        flavour=network.flavour.name,
        loss_weights={**config.loss_weights, **config.finish_weights},
        sizes=case.sizes,
        steps=case.steps,
    )


def run_preset(preset: str, case: Case, task: Task, file: Path, start: np.ndarray | None, **settings: Any) -> Run:
    """Run a preset on the pictures of a task, from a start if one is given."""
    sizes = {} if case.pixels else {"sizes": case.sizes}
    if start is not None:
        settings = {"init": start, "init_deviation": 0.0, **settings}
    settings = {**sizes, "steps": case.preset_steps, **case.settings, "snapshots": (), **settings}
    pictures = task.content, task.style
    changes = {"weights": str(file), "log_every": 1, "snapshot_every": None, **settings}
    result = stylize.stylize(*pictures, experiment=preset, **changes, listener=Listener())
    return Run([float(value) for value in result.metrics["total"]], start, result.picture)


def cut_losses(run: Run, case: Case) -> list[float]:
    """Return a procedure's losses without those that only show the result, which the preset does not compute."""
    if not case.sees_last:
        return run.losses
    ends = np.cumsum(case.steps)
    return [loss for k, loss in enumerate(run.losses, 1) if k not in ends]


def compare(preset: str, network: weights.Weights, file: Path, folder: Path) -> dict[str, Any]:
    """Run a preset and its source's procedure, write their pictures, and return their curves."""
    case, procedure = CASES[preset], PROCEDURES[preset]
    task = make_task(preset, case, network)
    runs = {"program": procedure(task)}
    alike = dataclasses.replace(task, leave_out=case.leaves_out)
    if case.leaves_out:
        runs["program, as the preset"] = procedure(alike)
    start = runs.get("program, as the preset", runs["program"]).start
    curves = {name: cut_losses(run, case) for name, run in runs.items()}
    runs["preset"] = run_preset(preset, case, task, file, start)
    for seed in SEEDS:
        if start is not None or case.draws:
            other = procedure(dataclasses.replace(alike, seed=seed))
            curves[f"program, seed {seed}"] = cut_losses(other, case)
        elif case.chaotic:
            options = {"init_deviation": PERTURBATION, "seed": seed}
            runs[f"preset, perturbed, {seed}"] = run_preset(preset, case, task, file, start, **options)
    for name, run in runs.items():
        assert run.picture is not None
        Image.fromarray(np.uint8(np.rint(255 * run.picture))).save(folder / f"{preset}, {name}.png")
    curves |= {name: run.losses for name, run in runs.items() if name not in curves}
    return {
        "version": load(preset).version,
        "steps": case.preset_steps,
        "loss_weights": dict(task.loss_weights),
        "losses": curves,
    }


def measure_purposes(network: weights.Weights) -> list[dict[str, Any]]:
    """Run each program with and without what its preset leaves out on purpose."""
    effects = []
    for purpose in PURPOSES:
        case = dataclasses.replace(CASES[purpose.preset], **purpose.changes)
        task = make_task(purpose.preset, case, network)
        procedure = PROCEDURES[purpose.preset]
        others = dataclasses.replace(task, leave_out=frozenset({purpose.name}))
        effects.append(
            {
                "preset": purpose.preset,
                "text": purpose.text,
                "with": cut_losses(procedure(task), case),
                "without": cut_losses(procedure(others), case),
            }
        )
        print(f"{purpose.preset}, {purpose.name}", flush=True)
    return effects


def main() -> None:
    """Make the missing comparisons, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--weights", default="auto", help="as in nstjax run; must reach block5_conv2")
    parser.add_argument("--presets", nargs="+", default=[*CASES], choices=CASES)
    arguments = parser.parse_args()
    folder: Path = arguments.out
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    network = complete(weights.find(arguments.weights, layers=["block5_conv2"]))
    file = folder / "weights.safetensors"
    weights.write(file, network)
    with compilation_cache.enable_cache(None, print):
        for preset in arguments.presets:
            result = folder / f"{preset}.json"
            if not result.exists():
                begun = time.perf_counter()
                result.write_text(json.dumps(compare(preset, network, file, folder)))
                print(f"{preset}: {time.perf_counter() - begun:.0f} s", flush=True)
    purposes = folder / "purposes.json"
    if not purposes.exists():
        purposes.write_text(json.dumps(measure_purposes(network)))
    write_page(folder, network.source)


if __name__ == "__main__":
    main()
