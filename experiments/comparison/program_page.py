"""The page and the sheet of pictures of the comparison of presets with their programs."""

import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from program_cases import CASES

STEPS = (1, 10, 50)
"""Steps of which the page shows the losses, besides the last."""

COLUMNS = (
    *("preset", "version", "steps", "program, 1", "10", "50", "last"),
    *("preset / program, 1", "10", "50", "last", "spread, 10", "last"),
)

INTRODUCTION = """\
`python experiments/comparison/compare_programs.py`: every preset beside the procedure of its source, as
`experiments/comparison/programs/` derives it from the source's code, in PyTorch. Both get the pictures `portrait` and
`brushwork` and the preset's loss weights for the weights at hand; where a program draws a start, the preset gets that
start. Float32, one CPU core.

Weights: {weights}.

The first four figures are the program's loss after 1, 10, 50 and all steps, the next four the preset's loss over it.
"Spread" says how far equal runs differ at step 10 and at the last: the largest difference of two further runs, for
programs that draw numbers those with other seeds, for others those from a start with noise of 1e-6. L-BFGS with fixed
steps, and gradient descent near the largest stable rate, amplify such roundings: there the first steps say whether the
systems are the same, and the spread how near the later ones can be.
"""

SIZES = """\
Presets that go through several sizes: the preset's loss over the program's at the first step of each later size, which
shows the resized pictures and what is carried over.
"""

PURPOSES = """\
What the presets leave out on purpose: the loss of the program over that of the same program without it.
"""


def write_page(folder: Path, weights: str) -> None:
    """Write ``programs.md`` and ``programs.jpg`` from the results in a folder."""
    results = {preset: read(folder / f"{preset}.json") for preset in CASES if (folder / f"{preset}.json").exists()}
    lines = [
        f"# Every preset beside its program, {datetime.date.today()}\n",
        INTRODUCTION.format(weights=weights),
        "![Pairs of pictures: the program's and the preset's](2026-11-27-programs.jpg)\n",
        f"| {' | '.join(COLUMNS)} |",
        "|---" * len(COLUMNS) + "|",
        *(describe(preset, result) for preset, result in results.items()),
        f"\n{SIZES}",
        "| preset | preset / program |",
        "|---|---|",
    ]
    for preset, result in results.items():
        program, ours = choose_program(result), result["losses"]["preset"]
        ends = np.cumsum(result["steps"])[:-1]
        if len(ends):
            lines.append(f"| {preset} | {', '.join(f'{ours[end] / program[end]:.4f}' for end in ends)} |")
    lines += [f"\n{PURPOSES}", "| preset | what its program does | step 1 | 10 | last |", "|---|---|---|---|---|"]
    for effect in read(folder / "purposes.json") if (folder / "purposes.json").exists() else ():
        pairs = [*zip(effect["with"], effect["without"], strict=False)]
        ratios = [f"{a / b:.4f}" for a, b in (pairs[0], pairs[min(9, len(pairs) - 1)], pairs[-1])]
        lines.append(f"| {effect['preset']} | {effect['text']} | {' | '.join(ratios)} |")
    (folder / "programs.md").write_text("\n".join(lines) + "\n")
    draw_pairs(folder / "programs.jpg", folder, [*results])


def read(file: Path) -> Any:
    """Return the contents of a JSON file."""
    return json.loads(file.read_text())


def choose_program(result: dict[str, Any]) -> list[float]:
    """Return the program's losses, without what the preset leaves out on purpose."""
    return result["losses"].get("program, as the preset", result["losses"]["program"])


def describe(preset: str, result: dict[str, Any]) -> str:
    """Return a preset's line of the table."""
    losses, program = result["losses"], choose_program(result)
    ours = losses["preset"]
    last = min(len(ours), len(program)) - 1
    shown = [*(step - 1 for step in STEPS if step - 1 < last), last]
    figures = [f"{program[k]:.4g}" for k in shown] + [f"{ours[k] / program[k]:.4f}" for k in shown]
    if len(shown) < len(STEPS) + 1:
        figures = [*figures[:2], "", *figures[2:5], "", *figures[5:]]
    spreads = [
        f"{max(abs(curve[k] / base[k] - 1) for name, curve in losses.items() if name.startswith(prefix)):.3f}"
        for prefix, base in (("preset, perturbed", ours), ("program, seed", program))
        if any(name.startswith(prefix) for name in losses)
        for k in (STEPS[1] - 1, last)
    ]
    steps = " + ".join(map(str, result["steps"]))
    cells = [preset, str(result["version"]), steps, *figures, *(spreads or ("", ""))]
    return f"| {' | '.join(cells)} |"


def draw_pairs(path: Path, folder: Path, presets: list[str], *, columns: int = 4, height: int = 150) -> None:
    """Draw the program's and the preset's picture of each preset side by side, under its name."""
    font, tiles = ImageFont.load_default(13), []
    for preset in presets:
        names = ("program, as the preset", "program") if CASES[preset].leaves_out else ("program",)
        pair = [Image.open(folder / f"{preset}, {name}.png") for name in (names[0], "preset")]
        tiles.append([image.resize((round(image.width * height / image.height), height)) for image in pair])
    width = max(sum(image.width for image in pair) for pair in tiles) + 14
    rows = -(-len(tiles) // columns)
    canvas = Image.new("RGB", (columns * width + 8, rows * (height + 28) + 6), "white")
    draw = ImageDraw.Draw(canvas)
    for index, (preset, pair) in enumerate(zip(presets, tiles, strict=True)):
        x, y = 8 + index % columns * width, 6 + index // columns * (height + 28)
        draw.text((x, y), preset, fill="black", font=font)
        for image in pair:
            canvas.paste(image, (x, y + 20))
            x += image.width + 2
    canvas.save(path, quality=88)
