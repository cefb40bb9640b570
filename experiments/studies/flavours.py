"""Each preset with weights of another flavour than its own: how large activations and terms are, and the pictures.

    python experiments/studies/flavours.py VGG19.safetensors --picture FILE … --out runs/flavours

compares VGG19 of the caffe flavour (as far as the file reaches) with the VGG16 of torchvision's flavour (``vgg16``) and
with the self-taught network. It prints the ratios of their activations, and for each preset the gradients of its
weighted terms, at the layers that all three have. With ``--out`` it also draws ``flavours.jpg``: each preset that is
meant for caffe weights, on VGG16, by its own loss weights and by those that it has for torchvision's flavour; and with
self-taught weights, if it has loss weights for them. About 20 minutes on two CPU cores, without ``--out`` two.
"""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from nstjax import images, reports
from nstjax.callbacks import Listener
from nstjax.errors import Failure
from nstjax.experiment.config import Config
from nstjax.experiment.experiment import Experiment, load, presets
from nstjax.experiment.inputs import prepare
from nstjax.network import selftaught, weights
from nstjax.network.architecture import VGG16, VGG19, Layer, parse_layer
from nstjax.network.load import build
from nstjax.network.vgg import VGG
from nstjax.objective import Objective
from nstjax.runs import stylize

CONTENT, STYLE = "example:portrait", "example:brushwork"
NAMES = [name for name in presets() if load(name).flavour]
COLUMNS = ("VGG16, as weighted", "VGG16, for torchvision", "for self-taught")
TILE = 150
"""Width of a picture on the sheet, in pixels."""


def print_ratios(networks: Mapping[str, VGG], layers: Sequence[str], pictures: Sequence[np.ndarray]) -> None:
    """Print how much larger the activations of caffe weights are than those of the others, by root mean squares."""
    others = [name for name in networks if name != "caffe"]
    heads = [f"caffe / {name} (Gram)" for name in others]
    print(f"| layer | caffe | {' | '.join(heads)} |\n|---|---{'|---' * len(others)}|")
    sizes = {
        name: [measure_sizes(network, layers, picture) for picture in pictures] for name, network in networks.items()
    }
    for layer in layers:
        cells = [f"{np.mean([size[layer][0] for size in sizes['caffe']]):.0f}"]
        for name in others:
            pairs = zip(sizes["caffe"], sizes[name], strict=True)
            ratios = np.asarray([size[layer] / other[layer] for size, other in pairs])
            plain, gram = (f"{column.min():.0f} to {column.max():.0f}" for column in ratios.T)
            cells.append(f"{plain} ({gram})")
        print(f"| {layer} | {' | '.join(cells)} |")


def measure_sizes(network: VGG, layers: Sequence[str], picture: np.ndarray) -> dict[str, np.ndarray]:
    """Return, for each layer, the root mean square of its activations, and the root of that of their Gram matrix."""

    def measure(features: jax.Array) -> jax.Array:
        rows = features.reshape(-1, features.shape[-1])
        gram = rows.T @ rows / len(rows)
        return jnp.stack([jnp.mean(rows**2) ** 0.5, jnp.mean(gram**2) ** 0.25])

    features = network.features(jnp.asarray(picture), tuple(layers))
    return {layer: np.asarray(measure(x)) for layer, x in features.items()}


def print_losses_of_grey(network: VGG, pictures: Sequence[np.ndarray]) -> None:
    """Print the losses of neural-style's grey start without their weights; for caffe weights the source prints them."""
    config = load("neural-style").config
    print("| term | layer | loss |\n|---|---|---|")
    for term in ("content", "style"):
        for layer in config.layers[term]:
            objective = Objective(tuple(load("neural-style").terms(config.replace(layers={term: (layer,)}))))
            losses = []
            for picture in map(jnp.asarray, pictures):
                targets = objective.targets(network, content=picture, style=picture)
                grey = jnp.broadcast_to(jnp.asarray(network.flavour.mean), picture.shape)
                _, parts = objective(grey, network=network, targets=targets, weights=config.loss_weights)
                losses.append(float(parts[term]))
            print(f"| {term} | {layer} | {min(losses):.1e} to {max(losses):.1e} |")


def print_gradients(
    networks: Mapping[str, VGG], layers: Sequence[str], pictures: tuple[np.ndarray, np.ndarray]
) -> None:
    """Print the L1 norms of the gradients of each preset's weighted terms."""
    print("| preset | meant for | term | there | elsewhere, as weighted | elsewhere, by its weights for it |")
    print("|---|---|---|---|---|---|")
    for name in NAMES:
        experiment = keep_layers(load(name), layers)
        assert experiment.flavour is not None
        other = "torchvision" if experiment.flavour == "caffe" else "caffe"
        values = measure_gradients(experiment, networks[experiment.flavour], experiment.config, pictures)
        columns = [values]
        for config in (experiment.config, experiment.config_for(other)):
            columns.append(measure_gradients(experiment, networks[other], config, pictures))
        for term in values:
            cells = [f"{column[term]:.1e} ({column[term] / sum(column.values()):.0%})" for column in columns]
            print(f"| {name} | {experiment.flavour} | {term} | {' | '.join(cells)} |")


def keep_layers(experiment: Experiment, layers: Sequence[str]) -> Experiment:
    """Return the experiment at those of its layers that are given; for a term that has none of them, at the last."""
    kept = {}
    for term, names in experiment.config.layers.items():
        kept[term] = tuple(name for name in names if name == "input" or parse_layer(name).step in layers)
        if not kept[term]:
            kept[term] = (name_layer(Layer(layers[-1], parse_layer(names[-1]).before_relu)),)
    return experiment.replace(layers=kept)


def name_layer(layer: Layer) -> str:
    """Return the name of a convolution, before or after its ReLU."""
    return f"conv{layer.step[5]}_{layer.step[-1]}" if layer.before_relu else layer.step


def measure_gradients(
    experiment: Experiment, network: VGG, config: Config, pictures: tuple[np.ndarray, np.ndarray]
) -> dict[str, float]:
    """Return the L1 norm of the gradient of each weighted term, halfway between content and style."""
    content, style = map(jnp.asarray, pictures)
    objective = Objective(tuple(experiment.terms(config)))
    targets = objective.targets(network, content=content, style=style)

    def loss(picture: jax.Array, term_weights: dict[str, float]) -> jax.Array:
        key = jax.random.key(0)
        return objective(picture, network=network, targets=targets, weights=term_weights, key=key)[0]

    gradient = jax.jit(jax.grad(loss))
    norms = {}
    for term, weight in config.loss_weights.items():
        alone = {**dict.fromkeys(config.loss_weights, 0.0), term: weight}
        norms[term] = float(jnp.sum(jnp.abs(gradient((content + style) / 2, alone))))
    return norms


def draw_sheet(out: Path, size: int, steps: int) -> None:
    """Run each preset that has loss weights for torchvision's flavour, without and with them, and draw the results."""
    inputs = prepare(CONTENT, STYLE, Config(sizes=(size,)))
    learnt = out / "self-taught.safetensors"
    if not learnt.exists():
        weights.write(learnt, selftaught.learn(inputs.content, inputs.styles, seed=0, deepest="block5_conv3"))
    rows = {}
    for name in NAMES:
        meant = shorten(load(name).replace(size=size, size_by="long", enlarge=True), steps)
        if meant.config_for("torchvision") == meant.config:
            continue
        as_weighted = dataclasses.replace(meant, flavour=None, flavours={})
        runs = [keep_layers(run, VGG16.convolutions).replace(weights="vgg16") for run in (as_weighted, meant)]
        if "self-taught" in meant.flavours:
            runs.append(meant.replace(weights=str(learnt)))
        files = [out / f"{name}, {column}.png" for column in COLUMNS]
        pictures = [draw_picture(run, file) for run, file in zip(runs, files, strict=False)]
        # Without hyphens long names are wrapped.
        rows[name.replace("-", " ")] = [*pictures, None][: len(COLUMNS)]
    sheet = out / "flavours.png"
    pictures = [*rows.values()]
    reports.grid(sheet, column_axis="", columns=COLUMNS, row_axis="", rows=[*rows], pictures=pictures, width=TILE)
    with Image.open(sheet) as picture:
        picture.convert("RGB").save(out / "flavours.jpg", quality=80)


def shorten(experiment: Experiment, steps: int) -> Experiment:
    """Return the experiment with at most so many steps, in proportion at each of its sizes, and without snapshots."""
    counts = np.diff([0, *experiment.config.stage_ends])
    counts = np.ceil(counts * min(1, steps / counts.sum())).astype(int)
    return experiment.replace(steps=tuple(counts.tolist()), snapshots=(), snapshot_every=None)


def draw_picture(experiment: Experiment, file: Path) -> Path | None:
    """Run an experiment and return the file of its picture, which an earlier call may have made; None if it fails."""
    if not file.exists():
        try:
            result = stylize.stylize(CONTENT, STYLE, experiment=experiment, listener=Listener())
        except Failure as error:
            print(f"{file.stem}: {error}", flush=True)
            return None
        images.save(file, result.picture)
        print(file.stem, flush=True)
    return file


def main() -> None:
    """Print the tables, and draw the sheet if there is a folder for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("caffe", help="converted weights of VGG19, caffe flavour, at least of blocks 1 to 3")
    parser.add_argument("--picture", nargs="+", default=[CONTENT, STYLE], help="pictures for the ratios")
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--steps", type=int, default=80, help="most steps of a picture (default: 80)")
    parser.add_argument("--out", type=Path, help="folder of the pictures")
    arguments = parser.parse_args()
    pictures = [prepare(path, STYLE, Config(sizes=(256,))).content for path in arguments.picture]
    inputs = prepare(CONTENT, STYLE, Config(sizes=(256,)))
    caffe = weights.read(Path(arguments.caffe))
    reached = VGG19.convolutions_to(caffe.deepest)
    layers = [layer for layer in VGG16.convolutions if layer in reached]
    learnt = selftaught.learn(inputs.content, inputs.styles, seed=0, deepest=layers[-1])
    networks = {
        "caffe": build(caffe),
        "torchvision": build(weights.find("vgg16")),
        "self-taught": build(learnt),
    }
    print_ratios(networks, layers, pictures)
    print_losses_of_grey(networks["torchvision"], pictures)
    content, style = (jnp.asarray(picture) for picture in (inputs.content, inputs.styles[0]))
    height, width = (min(sides) for sides in zip(content.shape[:2], style.shape[:2], strict=True))
    print_gradients(networks, layers, (np.asarray(content[:height, :width]), np.asarray(style[:height, :width])))
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        draw_sheet(arguments.out, arguments.size, arguments.steps)


if __name__ == "__main__":
    main()
