"""A sheet of results on the example pictures, one for each control, with the options that made them.

    python experiments/studies/controls.py --out runs/controls

writes ``controls.jpg`` and ``controls.md``, which are in experiments/results. About 10 minutes on two CPU cores. The
same command continues an interrupted one.
"""

import argparse
import shlex
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import nstjax.cli
from nstjax import images
from nstjax.experiment.config import Config
from nstjax.experiment.inputs import prepare
from nstjax.images import examples

CONTENT, STYLE = "example:portrait", "example:brushwork"
GLASS, MASK = "glass.png", "mask.png"

# (name, options added to the command)
CONTROLS = [
    ("the default", ""),
    ("blended styles", f"--blend {GLASS} --blend-shares 1,1"),
    ("a style per region", f"--blend {GLASS} --content-mask {MASK} --style-masks white black"),
    ("smaller strokes", "--style-scale 0.5"),
    ("larger strokes", "--style-scale 1.6"),
    ("coarse to fine", "--sizes 128:256 --steps 60,30"),
    ("luminance alone", "--luminance --match-colour none"),
    ("colours kept, OkLab", "--keep-colours oklab"),
    ("style recoloured", "--match-colour style --colour-map histogram"),
    ("Laplacian pyramid", "--parameterisation laplacian --learning-rate 0.01"),
    ("L-BFGS on pixels", "--optimiser lbfgs --parameterisation pixels --schedule constant"),
    ("normalised gradients", "--normalise-gradients --content-weight 1 --style-weight 4 --tv-weight 0.02"),
    ("average of late steps", "--keep average --average-decay 0.95 --schedule constant"),
    ("from noise", "--init noise --optimiser lbfgs --parameterisation pixels --schedule constant"),
    ("more of the style", "--style-weight 5"),
    (
        "Wasserstein-2 style",
        "--preset style-transfer-pytorch --steps 60,40 "
        "--layers 'content=relu4_1;style=relu1_1,relu2_1,relu3_1,relu4_1'",
    ),
]


def draw_glass(*, size: int = 384, panes: int = 90, seed: int = 3) -> np.ndarray:
    """Draw a second style [size, size, 3]: leaded panes of stained glass."""
    generator = np.random.default_rng(seed)
    seeds = generator.uniform(0, size, (panes, 2))
    palette = np.array([[0.75, 0.1, 0.12], [0.95, 0.72, 0.15], [0.1, 0.25, 0.6], [0.15, 0.5, 0.3], [0.9, 0.88, 0.8]])
    colours = palette[generator.integers(0, len(palette), panes)] * generator.uniform(0.75, 1.1, (panes, 1))
    distances = np.linalg.norm(np.indices((size, size)).transpose(1, 2, 0)[:, :, None] - seeds, axis=-1)
    nearest, second = np.sort(distances, axis=-1)[..., :2].transpose(2, 0, 1)
    light = 0.85 + 0.15 * np.cos(nearest / 6)
    picture = colours[distances.argmin(axis=-1)] * light[..., None]
    return np.clip(np.where((second - nearest < 5)[..., None], 0.05, picture), 0, 1).astype(np.float32)


def draw_mask(height: int, width: int) -> np.ndarray:
    """Draw a mask [height, width, 3]: white where the example portrait shows the person, black elsewhere."""
    mask = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(mask)
    w, h = width, height
    draw.ellipse((0.27 * w, 0.06 * h, 0.72 * w, 0.62 * h), fill="white")
    draw.polygon(
        [(0, h), (0.04 * w, 0.72 * h), (0.35 * w, 0.5 * h), (0.65 * w, 0.5 * h), (w, 0.72 * h), (w, h)], "white"
    )
    return np.asarray(mask, np.float32) / 255


def draw_sheet(path: Path, pictures: list[tuple[str, np.ndarray]], *, columns: int = 4, width: int = 230) -> None:
    """Draw pictures in a grid, each under its name."""
    font = ImageFont.load_default(15)
    thumbnails = [(name, Image.fromarray(np.uint8(np.rint(255 * picture)))) for name, picture in pictures]
    tiles = [(name, image.resize((width, round(image.height * width / image.width)))) for name, image in thumbnails]
    height = max(tile.height for _, tile in tiles) + 34
    canvas = Image.new("RGB", (columns * (width + 10) + 10, -(-len(tiles) // columns) * height + 6), "white")
    draw = ImageDraw.Draw(canvas)
    for index, (name, tile) in enumerate(tiles):
        x, y = 10 + index % columns * (width + 10), 6 + index // columns * height
        draw.text((x, y), name, fill="black", font=font)
        canvas.paste(tile, (x, y + 22))
    canvas.save(path, quality=85)


def main() -> None:
    """Make all runs, then write the sheet and the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs, the sheet and the page")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--weights", default="vgg16")
    arguments = parser.parse_args()
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    portrait = examples.load("portrait").rgb
    images.save(out / GLASS, draw_glass())
    images.save(out / MASK, draw_mask(*portrait.shape[:2]))
    inputs = prepare(CONTENT, [STYLE, str(out / GLASS)], Config(sizes=(arguments.size,)))
    results = [("content", inputs.content), *zip(("style", "second style"), inputs.styles, strict=True)]
    results.append(("regions", images.read(out / MASK).rgb))
    lines = ["# Each control at work", "", "![Small pictures in a grid, each under its name](controls.jpg)", ""]
    lines += [
        f"`nstjax run {CONTENT} {STYLE} --weights {arguments.weights} --size {arguments.size}` (if no `--sizes` takes "
        "its place) with",
        "",
        "| picture | options |",
        "|---|---|",
    ]
    for name, options in CONTROLS:
        folder = out / name.replace(" ", "-").replace(",", "")
        words = [str(out / word) if word in (GLASS, MASK) else word for word in shlex.split(options)]
        size = [] if "--sizes" in words else ["--size", str(arguments.size)]
        command = ["run", CONTENT, STYLE, *size, "--weights", arguments.weights, *words, "--out", str(folder)]
        if (folder / "config.json").exists():
            command = ["resume", str(folder)]
        code = nstjax.cli.main([*command, "--quiet"])
        if code:
            raise SystemExit(code)
        results.append((name, images.read(folder / "output.png").rgb))
        lines.append(f"| {name} | `{options}` |" if options else f"| {name} | |")
    draw_sheet(out / "controls.jpg", results)
    (out / "controls.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
