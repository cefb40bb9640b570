"""The page of the scores: a table and a sheet for each network, and the way that each recipe takes there."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from metrics import LAYERS, Score
from PIL import Image, ImageOps

from nstjax import report

Run: TypeAlias = Mapping[str, Any]
"""A line of scores.jsonl."""

TILE = 192
"""Of the sheets, in pixels."""
FIGURES = (
    "seconds",
    "Gram, optimised layers",
    "Gram, other layers",
    "sliced, optimised",
    "sliced, other",
    "style",
    "content",
    "SSIM",
    "style + content",
)
NAMED = 4
"""How many recipes have their names in the plot, besides the default."""


def write_page(folder: Path, about: str) -> None:
    """Write ``score.md``, ``score.csv``, ``score.svg`` and the sheets of a folder that ``score.py`` has filled.

    Args:
        folder: holds ``scores.jsonl``, the pairs' pictures and the runs.
        about: how it was measured.
    """
    found = [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]
    report.table(folder / "score.csv", [{**named(run), **figures(run)} for run in found])
    parts = [about, "![The score on the way](score.svg)"]
    ranked: dict[str, dict[str, list[Run]]] = {}
    for network in dict.fromkeys(run["network"] for run in found):
        ranked[network] = ranking([run for run in found if run["network"] == network])
        pairs = list(dict.fromkeys(run["pair"] for run in found))
        draw_sheet(folder, network, pairs, ranked[network])
        parts += [f"## {network.capitalize()} network", markdown(ranked[network]), *failures(ranked[network])]
        parts.append(f"![Each recipe's pictures, in that order]({sheet_name(network)})")
    draw_plot(folder / "score.svg", ranked)
    (folder / "score.md").write_text("\n\n".join(parts) + "\n")


def named(run: Run) -> dict[str, Any]:
    """What a run is."""
    return {it: run.get(it) for it in ("recipe", "network", "pair", "own_steps", "steps", "seconds_in_all", "failure")}


def score_of(entry: Mapping[str, Any]) -> Score:
    """As the judge gave it."""
    return Score(**{it: entry[it] for it in ("gram", "sliced", "content", "ssim")})


def figures(run: Run) -> dict[str, float]:
    """Of a run's result; not a number where there is none, or no such layer."""
    if "failure" in run:
        return {}
    last = run["scores"][-1]
    score = score_of(last)
    own = [it for it in LAYERS if it in run["layers"]]
    other = [it for it in LAYERS if it not in own]

    def mean(distances: Mapping[str, float], layers: Sequence[str]) -> float:
        return float(np.mean([distances[it] for it in layers])) if layers else float("nan")

    style = [mean(distances, layers) for distances in (score.gram, score.sliced) for layers in (own, other)]
    values = (last["seconds"], *style, score.style, score.content, score.ssim, score.sum)
    return dict(zip(FIGURES, values, strict=True))


def ranking(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """{recipe: its runs}, the lowest sum of style and content first; those that failed somewhere last."""
    of: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        of[run["recipe"]].append(run)
    return dict(sorted(of.items(), key=lambda it: np.mean([figures(run).get("style + content", 9) for run in it[1]])))


def markdown(ranked: Mapping[str, Sequence[Run]]) -> str:
    """A line for each recipe: means over the pairs."""
    rows = [["recipe", "steps", "of its own", *FIGURES]]
    rows.append(["---"] * len(rows[0]))
    for recipe, runs in ranked.items():
        done = [run for run in runs if "failure" not in run]
        means = {name: np.mean([figures(run)[name] for run in done]) for name in FIGURES} if done else {}
        if done:  # a machine may have paused
            means["seconds"] = np.median([figures(run)["seconds"] for run in done])
        steps = [f"{done[0]['steps']:,}", f"{done[0]['own_steps']:,}"] if done else ["–", "–"]
        shown = [f"{it:.1f}" if name == "seconds" else f"{it:.2f}" for name, it in means.items()]
        rows.append([recipe, *steps, *[it.replace("nan", "–") for it in shown or ["–"] * len(FIGURES)]])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def failures(ranked: Mapping[str, Sequence[Run]]) -> Iterator[str]:
    """A paragraph for each run without a result."""
    for run in (run for runs in ranked.values() for run in runs):
        if "failure" in run:
            yield f"{run['recipe']} on {run['pair']}: {run['failure']}"


def sheet_name(network: str) -> str:
    """The file of a network's sheet."""
    return f"score-{network}.jpg"


def draw_sheet(folder: Path, network: str, pairs: Sequence[str], ranked: Mapping[str, Sequence[Run]]) -> None:
    """The given pictures, then each recipe's results, a column for each pair."""
    tiles = folder / "tiles"
    tiles.mkdir(exist_ok=True)

    def tile(picture: Path) -> Path | None:
        if not picture.exists():
            return None
        made = tiles / f"{picture.relative_to(folder)}".replace("/", ", ")
        with Image.open(picture) as opened:
            ImageOps.pad(opened.convert("RGB"), (TILE, TILE), color="white").save(made)
        return made

    rows = {name: [tile(folder / f"{pair}, {name}.png") for pair in pairs] for name in ("content", "style")}
    for recipe in ranked:
        rows[recipe] = [tile(folder / "runs" / f"{pair}, {network}, {recipe}" / "output.png") for pair in pairs]
    file = tiles / f"{network}.png"
    names = [name.replace("-", " ") for name in rows]  # so that long ones are broken
    report.grid(file, column_axis="", columns=pairs, row_axis="", rows=names, pictures=[*rows.values()], width=TILE)
    with Image.open(file) as sheet:
        sheet.save(folder / sheet_name(network), quality=75)


def draw_plot(path: Path, ranked: Mapping[str, Mapping[str, Sequence[Run]]]) -> None:
    """Style + content, the mean over the pairs, against seconds and against steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4 * len(ranked)), layout="constrained")
    for row, (network, recipes) in zip(figure.subplots(len(ranked), 2, squeeze=False), ranked.items(), strict=True):
        whole = {recipe: runs for recipe, runs in recipes.items() if not any("failure" in run for run in runs)}
        told = {*list(whole)[:NAMED], "default"}
        for axes, measure in zip(row, ("seconds", "step"), strict=True):
            for recipe, runs in whole.items():
                entries = [run["scores"] for run in runs]
                x = np.median([[it[measure] for it in scores] for scores in entries], axis=0)
                y = np.mean([[score_of(it).sum for it in scores] for scores in entries], axis=0)
                if recipe in told:
                    axes.plot(x, y, marker="o", label=recipe, zorder=3, linewidth=2.5 if recipe == "default" else 1.5)
                else:
                    axes.plot(x, y, color="0.8", marker=".", linewidth=1)
            axes.axhline(1, color="0.4", linestyle=":", linewidth=1)
            axes.set_xscale("linear" if measure == "seconds" else "log")
            axes.set(title=f"{network} network", xlabel={"step": "steps"}.get(measure, measure), ylim=(0.5, 2.5))
            axes.set_ylabel("style + content")
        row[1].legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})
