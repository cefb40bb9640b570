"""The page of scores: a table and a sheet for each network, and a plot of the scores during the runs."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from metrics import LAYERS, Score
from PIL import Image, ImageOps

from nstjax import reports

Run: TypeAlias = Mapping[str, Any]
"""A line of scores.jsonl."""

ITSELF = "itself"
"""The name of a painting as the content of its own style, in the identity test."""

TILE = 192
"""Width and height of a picture on the sheets, in pixels."""
FIGURES = (
    "seconds",
    "Gram, optimised layers",
    "Gram, other layers",
    "sliced, optimised",
    "sliced, other",
    "style",
    "content",
    "SSIM",
    "LPIPS",
    "style + content",
)
LABELLED = 4
"""Number of recipes that are labelled in the plot, besides the default."""


def write_page(folder: Path, about: str) -> None:
    """Write ``score.md``, ``score.csv``, ``score.svg`` and the sheets of a folder of ``compare_presets.py``.

    Args:
        folder: the folder that holds ``scores.jsonl``, the pairs' pictures and the runs.
        about: text that says how the scores were measured.
    """
    scored = [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]
    reports.table(folder / "score.csv", [{**identify(run), **compute_figures(run)} for run in scored])
    parts = [about, "![The score on the way](score.svg)"]
    ranked: dict[str, dict[str, list[Run]]] = {}
    for network in dict.fromkeys(run["network"] for run in scored):
        runs = [run for run in scored if run["network"] == network]
        identity = [run for run in runs if run["pair"].endswith(ITSELF)]
        ranked[network] = rank_recipes([run for run in runs if run not in identity])
        pairs = list(dict.fromkeys(run["pair"] for run in runs))
        draw_sheet(folder, network, pairs, ranked[network])
        parts += [f"## {network.capitalize()} network", format_table(ranked[network]), *list_failures(ranked[network])]
        if identity:
            parts += ["A painting in its own style must come back:", format_identity_table(identity)]
        parts.append(f"![Each recipe's pictures, in that order]({name_sheet(network)})")
    draw_plot(folder / "score.svg", ranked)
    (folder / "score.md").write_text("\n\n".join(parts) + "\n")


def identify(run: Run) -> dict[str, Any]:
    """Return the entries of a run that are no scores."""
    names = ("recipe", "network", "pair", "own_steps", "steps", "failure")
    return {name: run.get(name) for name in names}


def read_score(entry: Mapping[str, Any]) -> Score:
    """Return the score in an entry of ``scores.jsonl``."""
    return Score(**{name: entry[name] for name in ("gram", "sliced", "content", "ssim", "lpips")})


def compute_figures(run: Run) -> dict[str, float]:
    """Return {figure: value} of a run's result: empty for a failed run; NaN for a mean over no layers."""
    if "failure" in run:
        return {}
    last = run["scores"][-1]
    score = read_score(last)
    optimised = [layer for layer in LAYERS if layer in run["layers"]]
    other = [layer for layer in LAYERS if layer not in optimised]

    def average(distances: Mapping[str, float], layers: Sequence[str]) -> float:
        return float(np.mean([distances[layer] for layer in layers])) if layers else float("nan")

    style = [average(distances, layers) for distances in (score.gram, score.sliced) for layers in (optimised, other)]
    values = (last["seconds"], *style, score.style, score.content, score.ssim, score.lpips, score.sum)
    return dict(zip(FIGURES, values, strict=True))


def rank_recipes(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Return {recipe: its runs}, sorted by the mean sum of style and content, where a failure counts as 9."""
    by_recipe = _group_by_recipe(runs)

    def average_sum(recipe: str) -> Any:
        return np.mean([compute_figures(run).get("style + content", 9) for run in by_recipe[recipe]])

    return {recipe: by_recipe[recipe] for recipe in sorted(by_recipe, key=average_sum)}


def _group_by_recipe(runs: Sequence[Run]) -> dict[str, list[Run]]:
    by_recipe: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_recipe[run["recipe"]].append(run)
    return by_recipe


def format_table(ranked: Mapping[str, Sequence[Run]]) -> str:
    """Format a table with one row per recipe: means over the pairs."""
    rows = [["recipe", "steps", "of its own", *FIGURES]]
    rows.append(["---"] * len(rows[0]))
    for recipe, runs in ranked.items():
        done = [run for run in runs if "failure" not in run]
        means = {name: np.mean([compute_figures(run)[name] for run in done]) for name in FIGURES} if done else {}
        if done:  # the median, since a machine may have paused
            means["seconds"] = np.median([compute_figures(run)["seconds"] for run in done])
        steps = [f"{done[0]['steps']:,}", f"{done[0]['own_steps']:,}"] if done else ["–", "–"]
        cells = [f"{mean:.1f}" if name == "seconds" else f"{mean:.2f}" for name, mean in means.items()]
        rows.append([recipe, *steps, *[cell.replace("nan", "–") for cell in cells or ["–"] * len(FIGURES)]])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def format_identity_table(runs: Sequence[Run]) -> str:
    """Format a table of how far each painting is from itself: LPIPS and SSIM, for each recipe, the best first."""
    done = [(recipe, *_average(runs)) for recipe, runs in _group_by_recipe(runs).items()]
    rows = [[recipe, f"{lpips:.3f}", f"{ssim:.2f}"] for recipe, lpips, ssim in sorted(done, key=lambda row: row[1])]
    rows = [["recipe", "LPIPS", "SSIM"], ["---"] * 3, *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows).replace("nan", "–")


def _average(runs: Sequence[Run]) -> tuple[float, float]:
    """Return the mean LPIPS and SSIM of the results; infinite and NaN if one has failed."""
    scores = [read_score(run["scores"][-1]) for run in runs if "scores" in run]
    if len(scores) < len(runs):
        return float("inf"), float("nan")
    return float(np.mean([score.lpips for score in scores])), float(np.mean([score.ssim for score in scores]))


def list_failures(ranked: Mapping[str, Sequence[Run]]) -> Iterator[str]:
    """Yield a paragraph for each failed run."""
    for run in (run for runs in ranked.values() for run in runs):
        if "failure" in run:
            yield f"{run['recipe']} on {run['pair']}: {run['failure']}"


def name_sheet(network: str) -> str:
    """Return the file name of a network's sheet."""
    return f"score-{network}.jpg"


def draw_sheet(folder: Path, network: str, pairs: Sequence[str], ranked: Mapping[str, Sequence[Run]]) -> None:
    """Draw the given pictures, then each recipe's results, with one column per pair."""
    tiles = folder / "tiles"
    tiles.mkdir(exist_ok=True)

    def make_tile(picture: Path) -> Path | None:
        if not picture.exists():
            return None
        file = tiles / f"{picture.relative_to(folder)}".replace("/", ", ")
        with Image.open(picture) as opened:
            ImageOps.pad(opened.convert("RGB"), (TILE, TILE), color="white").save(file)
        return file

    rows = {name: [make_tile(folder / f"{pair}, {name}.png") for pair in pairs] for name in ("content", "style")}
    for recipe in ranked:
        rows[recipe] = [make_tile(folder / "runs" / f"{pair}, {network}, {recipe}" / "output.png") for pair in pairs]
    file = tiles / f"{network}.png"
    names = [name.replace("-", " ") for name in rows]  # so that long names are wrapped
    reports.grid(file, column_axis="", columns=pairs, row_axis="", rows=names, pictures=[*rows.values()], width=TILE)
    with Image.open(file) as sheet:
        sheet.save(folder / name_sheet(network), quality=75)


def draw_plot(path: Path, ranked: Mapping[str, Mapping[str, Sequence[Run]]]) -> None:
    """Draw style + content, the mean over the pairs, against seconds and against steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4 * len(ranked)), layout="constrained")
    for row, (network, recipes) in zip(figure.subplots(len(ranked), 2, squeeze=False), ranked.items(), strict=True):
        complete = {recipe: runs for recipe, runs in recipes.items() if not any("failure" in run for run in runs)}
        labelled = {*list(complete)[:LABELLED], "default"}
        for axes, measure in zip(row, ("seconds", "step"), strict=True):
            for recipe, runs in complete.items():
                entries = [run["scores"] for run in runs]
                x = np.median([[entry[measure] for entry in scores] for scores in entries], axis=0)
                y = np.mean([[read_score(entry).sum for entry in scores] for scores in entries], axis=0)
                if recipe in labelled:
                    axes.plot(x, y, marker="o", label=recipe, zorder=3, linewidth=2.5 if recipe == "default" else 1.5)
                else:
                    axes.plot(x, y, color="0.8", marker=".", linewidth=1)
            axes.axhline(1, color="0.4", linestyle=":", linewidth=1)
            axes.set_xscale("linear" if measure == "seconds" else "log")
            axes.set(title=f"{network} network", xlabel={"step": "steps"}.get(measure, measure), ylim=(0.5, 2.5))
            axes.set_ylabel("style + content")
        row[1].legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})
