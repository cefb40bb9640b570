"""Which recipe draws best in the time that one has: every preset, on four pairs of pictures, scored and shown.

    python experiments/comparison/compare_presets.py --real VGG.safetensors --out runs/score

gives each recipe the time that the default one's steps take, and fewer of its own, at each size, where they do not fit.
It runs each with the real network (where the file ends before the recipe does, with layers learnt from the two pictures
below it) and with the self-taught one; ``metrics.py`` says how pictures are scored. The folder then holds ``score.md``,
``score.svg``, a sheet of all pictures for each network, ``scores.jsonl`` and the runs. Told again, it goes on where it
was. About two hours on two CPU cores. ``--content`` and ``--style`` take your own pictures, ``--recipes`` presets and
experiment files.
"""

import argparse
import dataclasses
import datetime
import itertools
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import metrics
import numpy as np
from hybrid_weights import hybrid
from page import write_page
from skimage import data

from nstjax import images
from nstjax.callbacks import Listener
from nstjax.errors import Failure, UserError
from nstjax.experiment.config import Config
from nstjax.experiment.experiment import Experiment, load, presets
from nstjax.experiment.inputs import Inputs, Source, prepare
from nstjax.images import examples
from nstjax.network import selftaught, weights
from nstjax.network.architecture import VGG19, layer
from nstjax.network.load import build
from nstjax.runs import stylize
from nstjax.system import compilation_cache

DEEPEST = "block5_conv3"
"""Of all presets."""
PROBE = 6
"""Steps at each size that say how long a step takes."""
PARTS = (1 / 4, 1 / 2, 1)
"""Of a run's steps, after which its picture is scored."""
NETWORKS = ("real", "self-taught")


@dataclass(frozen=True)
class Pair:
    """Two pictures."""

    name: str
    content: Source
    style: Source


def pairs_of(contents: list[str], styles: list[str]) -> list[Pair]:
    """Each content with each style; of none, pictures that come with nstjax and scikit-image."""
    photographs: dict[str, Source] = {Path(it).stem: it for it in contents}
    paintings: dict[str, Source] = {Path(it).stem: it for it in styles}
    # Squares, so that one compiled program serves them all.
    photographs = photographs or {
        "portrait": square(examples.load("portrait").rgb),
        "cat": square(data.chelsea() / np.float32(255)),
    }
    paintings = paintings or {
        "brushwork": square(examples.load("brushwork").rgb),
        "tissue": square(data.immunohistochemistry() / np.float32(255)),
    }
    return [
        Pair(f"{a}, {b}", content, style)
        for (a, content), (b, style) in itertools.product(photographs.items(), paintings.items())
    ]


def square(picture: np.ndarray) -> np.ndarray:
    """The middle of a picture [H, W, 3]."""
    side = min(picture.shape[:2])
    top, left = ((it - side) // 2 for it in picture.shape[:2])
    return picture[top : top + side, left : left + side]


def networks(pair: Pair, real: weights.Weights, folder: Path, size: int, wanted: list[str]) -> dict[str, str]:
    """{network: file}: the real one, as deep as any recipe goes, and the self-taught one."""
    inputs = prepare(pair.content, pair.style, Config(size=size))
    files = {}
    for name in wanted:
        files[name] = str(folder / f"{pair.name}, {name}.safetensors")
        if not Path(files[name]).exists():
            if name == "self-taught":
                learnt = selftaught.learn(inputs.content, inputs.styles, seed=0, deepest=DEEPEST)
            else:
                reaches = VGG19.convolutions.index(real.deepest) >= VGG19.convolutions.index(DEEPEST)
                learnt = real if reaches else hybrid(inputs, real, deepest=DEEPEST)
            weights.write(files[name], learnt)
    return files


def recipe_for(name: str, file: str, size: int) -> Experiment:
    """A recipe with some weights, at a size; it has no settings left that depend on either."""
    experiment = load(name).replace(weights=file, size=size, size_by="long", enlarge=True, snapshot_every=None)
    config = experiment.config_for(weights.read(Path(file)).flavour.name)
    return dataclasses.replace(experiment, config=config, flavours={}, changes=())


def measured(experiment: Experiment, inputs: Inputs) -> tuple[np.ndarray, np.ndarray]:
    """(the steps that a recipe makes, the seconds that one takes), at each of its sizes."""
    config = experiment.config
    probe = experiment.replace(size_steps=(PROBE,) * len(config.every_size), snapshots=(), log_every=1)
    times = stylize.run(probe, inputs, listener=Listener()).metrics["seconds_per_step"]
    own = np.diff([0, *config.size_ends])
    # Of each size the later half: the first steps are slower.
    return own, np.median(times.reshape(len(own), PROBE)[:, PROBE // 2 :], axis=1)


def in_time(experiment: Experiment, inputs: Inputs, like: tuple[Experiment, Inputs], times: float) -> tuple[int, ...]:
    """Steps at each size: the recipe's own, or in their proportions as many as another recipe's time has room for."""
    own, each = measured(experiment, inputs)
    # Right after it, since a machine is not always as fast.
    others, of_others = (own, each) if experiment.config == like[0].config else measured(*like)
    share = min(1.0, times * float(others @ of_others) / float(own @ each))
    return tuple(np.maximum(1, np.round(own * share)).astype(int).tolist())


def scored(
    experiment: Experiment, inputs: Inputs, steps: tuple[int, ...], referee: metrics.Judge, out: Path
) -> dict[str, Any]:
    """A run, and its scores on the way."""
    snapshots = {round(part * sum(steps)) for part in PARTS[:-1]} - {0, sum(steps)}
    begun = time.perf_counter()
    shortened = experiment.replace(size_steps=steps, snapshots=tuple(snapshots), log_every=1)
    result = stylize.run(shortened, inputs, out=out, listener=Listener())
    whole = time.perf_counter() - begun
    ended = np.cumsum(result.metrics["seconds_per_step"])
    pictures = {int(it.stem): images.read(it).rgb for it in (out / "snapshots").glob("*.png")}
    scores = [
        {"step": step, "seconds": float(ended[step - 1]), **dataclasses.asdict(referee.score(picture))}
        for step, picture in sorted({**pictures, result.steps: result.picture}.items())
    ]
    return {"steps": result.steps, "seconds_in_all": whole, "scores": scores}


def runs(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Every run that is not in ``scores.jsonl`` yet, with what it came to."""
    real = weights.read(arguments.real)
    folder: Path = arguments.out
    written = folder / "scores.jsonl"
    known = [json.loads(line) for line in written.read_text().splitlines()] if written.exists() else []
    done = {(it["recipe"], it["network"], it["pair"]) for it in known}
    steps: dict[tuple[Any, ...], tuple[int, ...]] = {}
    for pair in pairs_of(arguments.content, arguments.style):
        files = networks(pair, real, folder, arguments.size, arguments.networks)
        pictures = prepare(pair.content, pair.style, Config(size=arguments.size))
        referee = metrics.Judge(build(real, precision="highest"), pictures.content, pictures.style)
        for name, picture in (("content", pictures.content), ("style", pictures.style)):
            images.save(folder / f"{pair.name}, {name}.png", picture)
        for recipe, network in itertools.product(arguments.recipes, arguments.networks):
            experiment = recipe_for(recipe, files[network], arguments.size)
            key = {"recipe": experiment.name, "network": network, "pair": pair.name}
            if tuple(key.values()) in done:
                continue
            out = folder / "runs" / f"{pair.name}, {network}, {experiment.name}"
            shutil.rmtree(out, ignore_errors=True)  # of a script that was ended
            layers = [layer(it).step for it in experiment.config.layers.get("style", ()) if it != "input"]
            begun = {**key, "layers": layers, "own_steps": experiment.config.steps}
            try:
                inputs = prepare(pair.content, pair.style, experiment.config)
                work = (recipe, network, inputs.content.shape, inputs.style.shape)
                if work not in steps:
                    like = recipe_for("default", files[network], arguments.size)
                    prepared = prepare(pair.content, pair.style, like.config)
                    steps[work] = in_time(experiment, inputs, (like, prepared), arguments.times)
                yield {**begun, **scored(experiment, inputs, steps[work], referee, out)}
            except (UserError, Failure) as error:
                yield {**begun, "failure": str(error).replace(f"{out}/", "")}


def about(arguments: argparse.Namespace) -> str:
    """How it was measured."""
    return (
        f"# Every recipe in the same time, {datetime.date.today()}\n\n"
        f"`python experiments/comparison/compare_presets.py --real {arguments.real.name}`: "
        f"{arguments.size} pixels, seed 0, "
        f"each run as long as {arguments.times:g} of the default recipe, or less where a recipe wants no more. "
        f"jax {jax.__version__}, {jax.local_devices()[0].device_kind}, "
        f"{len(os.sched_getaffinity(0))} cores.\n\n{(metrics.__doc__ or '').partition(chr(10))[2].strip()}"
    )


def main() -> None:
    """Make the runs that are missing, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, required=True, help="converted weights, at least of blocks 1 to 3")
    parser.add_argument("--out", type=Path, required=True, help="folder for all of it")
    parser.add_argument("--times", type=float, default=1.0, help="the time of the default recipe that each has")
    parser.add_argument("--size", type=int, default=256, help="long side of all pictures")
    parser.add_argument("--content", nargs="+", default=[], help="photographs; each goes with each style")
    parser.add_argument("--style", nargs="+", default=[], help="paintings")
    parser.add_argument("--recipes", nargs="+", default=[*presets()], help="presets and experiment files")
    parser.add_argument("--networks", nargs="+", default=NETWORKS, choices=NETWORKS)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with compilation_cache.cached(None, print):
        for found in runs(arguments):
            with (arguments.out / "scores.jsonl").open("a") as file:
                file.write(json.dumps(found) + "\n")
            last = found["scores"][-1] if "scores" in found else {}
            said = f"{found['steps']} steps, {last['seconds']:.0f} s" if last else found["failure"]
            print(f"{found['pair']}, {found['network']}, {found['recipe']}: {said}", flush=True)
    write_page(arguments.out, about(arguments))


if __name__ == "__main__":
    main()
