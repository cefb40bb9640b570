"""How good results are, judged by the real VGG19's blocks 1 to 3, which taught the self-taught network nothing.

    python experiments/score.py --data FOLDER --out runs/score

runs the default recipe on each pair of FOLDER/images, with the self-taught network and with the real blocks 1 to 3
above self-taught ones, and prints a table. About 10 minutes on two CPU cores. Style: ``||G(x) - G(t)||^2 / ||G(t)||^2``
of Gram matrices, as a fraction of the same for the picture that the run started from. Content: mean squared difference
over the variance, at block3_conv4. Low is near; neither says whether a picture is good: look at ``sheet.png``.
"""

import argparse
import itertools
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from hybrid import hybrid
from PIL import Image, ImageDraw, ImageFont

from nstjax import images, loop, losses, statistics, weights
from nstjax.architecture import CONVOLUTIONS, SEQUENCE, deepest
from nstjax.experiment import Experiment, load
from nstjax.inputs import Inputs, prepare
from nstjax.network import build
from nstjax.vgg import VGG19

CONTENTS, STYLES = ("tubingen", "golden_gate"), ("starry_night", "the_scream")
STYLE_LAYERS = ("block1_conv1", "block2_conv1", "block3_conv1", "block3_conv4")
CONTENT_LAYER = "block3_conv4"


@jax.jit
def judge(network: VGG19, picture: jax.Array, content: jax.Array, style: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(style distance of each of STYLE_LAYERS, content distance) of a picture."""
    of_picture, of_style = network.features(picture, STYLE_LAYERS), network.features(style, STYLE_LAYERS)
    style_distances = [
        losses.relative_squared(statistics.gram(of_picture[name]), statistics.gram(of_style[name])) for name in of_style
    ]
    at_content = network.features(content, [CONTENT_LAYER])[CONTENT_LAYER]
    return jnp.stack(style_distances), losses.variance_scaled(of_picture[CONTENT_LAYER], at_content)


def score(network: VGG19, picture: np.ndarray, inputs: Inputs) -> tuple[np.ndarray, float]:
    """(style distances as fractions of the start's, content distance)."""
    of_start, _ = judge(network, inputs.start, inputs.content, inputs.style)
    style, content = judge(network, picture, inputs.content, inputs.style)
    return np.asarray(style / of_start), float(content)


def sheet(path: Path, rows: list[tuple[str, list[np.ndarray]]]) -> None:
    """Pictures in rows, each row under its name."""
    height = 200
    font = ImageFont.load_default(15)
    scaled = []
    for name, pictures in rows:
        small = [Image.fromarray(np.uint8(np.rint(255 * p))) for p in pictures]
        scaled.append((name, [p.resize((round(p.width * height / p.height), height)) for p in small]))
    width = max(sum(p.width + 8 for p in pictures) for _, pictures in scaled) + 8
    canvas = Image.new("RGB", (width, len(rows) * (height + 28) + 8), "white")
    draw = ImageDraw.Draw(canvas)
    for row, (name, pictures) in enumerate(scaled):
        x, y = 8, row * (height + 28) + 4
        draw.text((x, y), name, fill="black", font=font)
        for picture in pictures:
            canvas.paste(picture, (x, y + 22))
            x += picture.width + 8
    canvas.save(path)


def run(experiment: Experiment, inputs: Inputs, source: str, out: Path, size: int) -> tuple[np.ndarray, float]:
    """The result of one run, and its seconds, learning and compilation included."""
    begun = time.perf_counter()
    result = loop.run(experiment.replace(size=size, weights=source), inputs, out=out)
    return result.picture, time.perf_counter() - begun


def main() -> None:
    """Run every pair, print the table, write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds images/ and weights/")
    parser.add_argument("--out", type=Path, required=True, help="new folder for the runs")
    parser.add_argument("--preset", default="default")
    parser.add_argument("--size", type=int, default=256)
    arguments = parser.parse_args()
    real = weights.read(arguments.data / "weights" / "vgg19_caffe_blocks1-3.safetensors")
    experiment, network = load(arguments.preset), build(real, precision="highest")
    step = deepest(experiment.config.every_layer) or CONVOLUTIONS[0]
    last = [it for it in SEQUENCE[: SEQUENCE.index(step) + 1] if it in CONVOLUTIONS][-1]
    arguments.out.mkdir(parents=True)
    print("| content | style | network | " + " | ".join(STYLE_LAYERS) + " | content distance | seconds |")
    print("|---" * (len(STYLE_LAYERS) + 5) + "|")
    rows = []
    for content, style in itertools.product(CONTENTS, STYLES):
        photograph, painting = (arguments.data / "images" / f"{name}.jpg" for name in (content, style))
        inputs = prepare(photograph, painting, experiment.config.replace(size=arguments.size))
        shown = [images.resize(images.read(photograph), arguments.size).rgb, inputs.style, inputs.start]
        mixed = arguments.out / f"{content}-{style}.safetensors"
        weights.write(mixed, hybrid(inputs, real, deepest=last))
        for name, source in (("self-taught", "self-taught"), ("real above self-taught", str(mixed))):
            out = arguments.out / f"{content}-{style}-{name.replace(' ', '-')}"
            picture, seconds = run(experiment, inputs, source, out, arguments.size)
            distances, to_content = score(network, picture, inputs)
            shown.append(picture)
            figures = " | ".join(f"{it:.3f}" for it in distances)
            print(f"| {content} | {style} | {name} | {figures} | {to_content:.2f} | {seconds:.0f} |", flush=True)
        rows.append((f"{content} + {style}: content, style, start, self-taught, real blocks 1-3", shown))
    sheet(arguments.out / "sheet.png", rows)


if __name__ == "__main__":
    main()
