"""A comparison of all presets in the same time, on four pairs of pictures, scored and shown.

    python experiments/comparison/compare_presets.py --real vgg16 --judge VGG19.safetensors --out runs/score

gives each recipe the time that the steps of the default recipe take; a recipe that needs more makes fewer steps, in
proportion at each size. ``--times inf`` lets all make all their steps. Each runs with the real network and with the
self-taught one; ``metrics.py`` says how pictures are scored, by a network that need not be the one that drew them.
``--identity`` adds a pair for each painting, with itself: a sound method gives it back. The folder then holds
``score.md``, ``score.csv``, ``score.svg``, a sheet of all pictures for each network, ``scores.jsonl`` and the runs. The
same command continues an interrupted comparison, in the middle of a run too. About two hours on two CPU cores.
``--content`` and ``--style`` take other pictures, ``--recipes`` presets and experiment files.
"""

import argparse
import dataclasses
import datetime
import itertools
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import metrics
import numpy as np
from lpips import load_lpips
from page import ITSELF, write_page
from skimage import data
from vgg16_as_vgg19 import complete

from nstjax import images
from nstjax.callbacks import Listener
from nstjax.errors import Failure, UserError
from nstjax.experiment.config import Config
from nstjax.experiment.experiment import Experiment, load, presets
from nstjax.experiment.inputs import Source, prepare
from nstjax.images import examples
from nstjax.network import selftaught, weights
from nstjax.network.architecture import parse_layer
from nstjax.network.load import build
from nstjax.runs import stylize
from nstjax.system import compilation_cache

COMPLETED = "real as VGG19.safetensors"
"""File of the real network as a VGG19, for presets with layers that VGG16 lacks."""
DEEPEST = "block5_conv3"
"""The deepest convolution that a preset needs."""
PROBE = 6
"""Number of steps at each size that measure the time of a step."""
PARTS = (1 / 4, 1 / 2, 1)
"""Parts of a run's steps after which its picture is scored."""
NETWORKS = ("real", "self-taught")


@dataclass(frozen=True)
class Pair:
    """A photograph and a painting."""

    name: str
    content: Source
    style: Source


def make_pairs(contents: list[str], styles: list[str], *, identity: bool) -> list[Pair]:
    """Pair each content with each style; the defaults are pictures that come with nstjax and scikit-image.

    Args:
        contents: files of photographs.
        styles: files of paintings.
        identity: whether to pair each style with itself too.
    """
    photographs: dict[str, Source] = {Path(path).stem: path for path in contents}
    paintings: dict[str, Source] = {Path(path).stem: path for path in styles}
    # Squares, so that all share one compiled program.
    photographs = photographs or {
        "portrait": crop_square(examples.load("portrait").rgb),
        "cat": crop_square(data.chelsea() / np.float32(255)),
    }
    paintings = paintings or {
        "brushwork": crop_square(examples.load("brushwork").rgb),
        "tissue": crop_square(data.immunohistochemistry() / np.float32(255)),
    }
    pairs = [
        Pair(f"{a}, {b}", content, style)
        for (a, content), (b, style) in itertools.product(photographs.items(), paintings.items())
    ]
    return pairs + [Pair(f"{b}, {ITSELF}", style, style) for b, style in paintings.items() if identity]


def crop_square(picture: np.ndarray) -> np.ndarray:
    """Return the largest square in the middle of a picture [H, W, 3]."""
    side = min(picture.shape[:2])
    top, left = ((length - side) // 2 for length in picture.shape[:2])
    return picture[top : top + side, left : left + side]


def prepare_networks(pair: Pair, real: str, folder: Path, size: int, names: list[str]) -> dict[str, list[str]]:
    """Return {network: names or files of its weights, the first of which is taken that has a preset's layers}."""
    completed, learnt = str(folder / COMPLETED), str(folder / f"{pair.name}, self-taught.safetensors")
    if "real" in names and not Path(completed).exists():
        weights.write(completed, complete(weights.find(real, layers=())))
    if "self-taught" in names and not Path(learnt).exists():
        inputs = prepare(pair.content, pair.style, Config(sizes=(size,)))
        weights.write(learnt, selftaught.learn(inputs.content, inputs.styles, seed=0, deepest=DEEPEST))
    references = {"real": [real, completed], "self-taught": [learnt]}
    return {name: references[name] for name in names}


def load_recipe(name: str, references: list[str], size: int) -> Experiment:
    """Load a recipe with given weights, at a size; no setting depends on the flavour any more."""
    experiment = load(name)
    layers = [parse_layer(layer).step for layer in experiment.config.every_layer if layer != "input"]
    networks = {reference: weights.find(reference, layers=()) for reference in references}
    has_layers = (reference for reference, network in networks.items() if {*layers} <= {*network.architecture.sequence})
    reference = next(has_layers, references[-1])
    experiment = experiment.replace(weights=reference, size=size, size_by="long", enlarge=True, snapshot_every=None)
    config = experiment.config_for(networks[reference].flavour.name)
    return dataclasses.replace(experiment, config=config, flavour=None, flavours={}, changes=())


def measure_times(experiment: Experiment, pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """Return a recipe's (steps, seconds per step), at each of its stages."""
    config = experiment.config
    probe = experiment.replace(steps=(PROBE,) * config.count_stages(), snapshots=(), log_every=1)
    result = stylize.stylize(pair.content, pair.style, experiment=probe, listener=Listener())
    times = result.metrics["seconds_per_step"]
    steps = np.diff([0, *config.stage_ends])
    # The later half of each stage, since the first steps are slower.
    return steps, np.median(times.reshape(len(steps), PROBE)[:, PROBE // 2 :], axis=1)


def fit_steps(experiment: Experiment, like: Experiment, pair: Pair, times: float) -> tuple[int, ...]:
    """Return the steps at each size: all of a recipe's, or fewer in proportion, to fit into another recipe's time.

    Args:
        experiment: the recipe.
        like: the other recipe.
        pair: the pictures of both.
        times: the available time, as a multiple of the other recipe's.
    """
    steps, seconds = measure_times(experiment, pair)
    # Measured directly afterwards, since the speed of a machine varies.
    same = experiment.config == like.config
    other_steps, other_seconds = (steps, seconds) if same else measure_times(like, pair)
    share = min(1.0, times * float(other_steps @ other_seconds) / float(steps @ seconds))
    return tuple(np.maximum(1, np.round(steps * share)).astype(int).tolist())


def run_and_score(
    experiment: Experiment, pair: Pair, steps: tuple[int, ...], scorer: metrics.Scorer, out: Path
) -> dict[str, Any]:
    """Run a recipe, or finish an interrupted run of it, and score its picture at each of PARTS."""
    if (out / "config.json").exists():
        result = stylize.resume(out, listener=Listener())
    else:
        snapshots = {round(part * sum(steps)) for part in PARTS[:-1]} - {0, sum(steps)}
        shortened = experiment.replace(steps=steps, snapshots=tuple(snapshots), log_every=1)
        result = stylize.stylize(pair.content, pair.style, experiment=shortened, out=out, listener=Listener())
    end_times = np.cumsum(result.metrics["seconds_per_step"])
    pictures = {int(path.stem): images.read(path).rgb for path in (out / "snapshots").glob("*.png")}
    scores = [
        {"step": step, "seconds": float(end_times[step - 1]), **dataclasses.asdict(scorer.score(picture))}
        for step, picture in sorted({**pictures, result.steps: result.picture}.items())
    ]
    return {"steps": result.steps, "scores": scores}


def make_missing_runs(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Make every run that is not in ``scores.jsonl`` yet, and yield its line."""
    judge = build(complete(weights.find(arguments.judge or arguments.real, layers=())), precision="highest")
    lpips = load_lpips()
    folder: Path = arguments.out
    written = folder / "scores.jsonl"
    known = [json.loads(line) for line in written.read_text().splitlines()] if written.exists() else []
    done = {(run["recipe"], run["network"], run["pair"]) for run in known}
    steps: dict[tuple[Any, ...], tuple[int, ...]] = {}
    for pair in make_pairs(arguments.content, arguments.style, identity=arguments.identity):
        jax.clear_caches()  # a process can map only so many compiled programs
        references = prepare_networks(pair, arguments.real, folder, arguments.size, arguments.networks)
        pictures = prepare(pair.content, pair.style, Config(sizes=(arguments.size,)))
        scorer = metrics.Scorer(judge, pictures.content, pictures.style, lpips)
        for name, picture in (("content", pictures.content), ("style", pictures.style)):
            images.save(folder / f"{pair.name}, {name}.png", picture)
        for recipe, network in itertools.product(arguments.recipes, arguments.networks):
            experiment = load_recipe(recipe, references[network], arguments.size)
            key = {"recipe": experiment.name, "network": network, "pair": pair.name}
            if tuple(key.values()) in done:
                continue
            out = folder / "runs" / f"{pair.name}, {network}, {experiment.name}"
            layers = [parse_layer(name).step for name in experiment.config.layers.get("style", ()) if name != "input"]
            line = {**key, "layers": layers, "own_steps": experiment.config.total_steps}
            try:
                inputs = prepare(pair.content, pair.style, experiment.config)
                work = (recipe, network, inputs.content.shape, inputs.style.shape)
                if arguments.times == math.inf:
                    steps[work] = experiment.config.steps_by_stage
                if work not in steps:
                    like = load_recipe("default", references[network], arguments.size)
                    steps[work] = fit_steps(experiment, like, pair, arguments.times)
                yield {**line, **run_and_score(experiment, pair, steps[work], scorer, out)}
            except (UserError, Failure) as error:
                yield {**line, "failure": str(error).replace(f"{out}/", "")}


def describe(arguments: argparse.Namespace) -> str:
    """Describe how the scores were measured."""
    time_allowed = f"each recipe in {arguments.times:g} times the time of the default recipe, or less if it needs less"
    if arguments.times == math.inf:
        time_allowed = "each recipe to its end"
    return (
        f"# Every recipe in the same time, {datetime.date.today()}\n\n"
        f"`python experiments/comparison/compare_presets.py --real {Path(arguments.real).name}`: "
        f"{arguments.size} pixels, seed 0, {time_allowed}. "
        f"jax {jax.__version__}, {jax.local_devices()[0].device_kind}, "
        f"{len(os.sched_getaffinity(0))} cores.\n\n{(metrics.__doc__ or '').partition(chr(10))[2].strip()}"
    )


def main() -> None:
    """Make the missing runs, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--real", required=True, help="weights, by name or as a converted file; a preset needs what its layers need"
    )
    parser.add_argument(
        "--judge", help="weights of VGG19 that score, at least of blocks 1 to 3 (default: the real ones)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs and the page")
    parser.add_argument(
        "--times", type=float, default=1.0, help="time for each recipe, as a multiple of the default recipe's"
    )
    parser.add_argument("--size", type=int, default=256, help="long side of all pictures")
    parser.add_argument("--content", nargs="+", default=[], help="photographs, each paired with each style")
    parser.add_argument("--style", nargs="+", default=[], help="paintings")
    parser.add_argument("--recipes", nargs="+", default=[*presets()], help="presets and experiment files")
    parser.add_argument("--identity", action="store_true", help="pair each painting with itself too")
    parser.add_argument("--networks", nargs="+", default=NETWORKS, choices=NETWORKS)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with compilation_cache.enable_cache(None, print):
        for run in make_missing_runs(arguments):
            with (arguments.out / "scores.jsonl").open("a") as file:
                file.write(json.dumps(run) + "\n")
            last = run["scores"][-1] if "scores" in run else {}
            outcome = f"{run['steps']} steps, {last['seconds']:.0f} s" if last else run["failure"]
            print(f"{run['pair']}, {run['network']}, {run['recipe']}: {outcome}", flush=True)
    write_page(arguments.out, describe(arguments))


if __name__ == "__main__":
    main()
