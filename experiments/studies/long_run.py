"""The effect of the long-run recipe's weights, iterations and open choices, at a size that a CPU can afford.

    python experiments/studies/long_run.py CONTENT STYLE --weights vgg16 --out runs/long-run-study

prints three tables of the style and content distances and the picture's total variation: for the choices that the
recipe's source leaves open and for four style weights, after ``--short-steps`` steps, and for one run of 30,000 steps
at each snapshot. The pictures of the tables are on sheets in the folder. An hour and a half at 128 pixels on two CPU
cores; the same command continues what was interrupted. The weights must reach block5_conv2.
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

import nstjax
from nstjax import Experiment, Result, losses, reports, statistics
from nstjax.callbacks import Listener
from nstjax.experiment.choice import settle
from nstjax.runs.stylize import resume

STYLE_FACTORS = (0.01, 0.1, 1.0, 10.0)
TERMS = ("style", "content", "tv")


def change_terms(experiment: Experiment, name: str, change: Callable[..., nstjax.Term]) -> Experiment:
    """Return an experiment with one of its terms changed."""
    made = experiment.terms

    def terms(config: nstjax.Config):
        return tuple(change(term) if term.name == name else term for term in made(config))

    return replace(experiment, terms=terms)


def make_choices(recipe: Experiment) -> dict[str, Experiment]:
    """Return the recipe, and the recipe with one open choice made otherwise."""
    by_positions = nstjax.per_layer(statistics.gram)
    return {
        "the recipe": recipe,
        "Gram F F^T / N": change_terms(recipe, "style", lambda term: replace(term, statistic=by_positions)),
        "content: mean": change_terms(
            recipe, "content", lambda term: replace(term, distance=nstjax.layer_mean(losses.mean_squared))
        ),
        "tv on 0-1": change_terms(recipe, "tv", lambda term: replace(term, loss=losses.total_variation_squared)),
        "rate 0.0001": recipe.replace(learning_rate=0.0001),
        "rate 0.01": recipe.replace(learning_rate=0.01),
    }


def make_run(pictures: tuple[str, str], experiment: Experiment, folder: Path) -> Result:
    """Make a run in a folder, or what is left of it."""
    if (folder / "config.json").exists():
        return resume(folder, experiment=experiment)
    return nstjax.stylize(*pictures, experiment=experiment, out=folder)


def read_terms(result: Result, step: int) -> dict[str, float]:
    """Return the terms of the last logged step up to ``step``."""
    index = int(np.searchsorted(result.metrics["step"], step, side="right")) - 1
    return {name: float(result.metrics[name][index]) for name in TERMS}


def print_head(title: str, column: str) -> None:
    """Print the head of a table."""
    print(f"\n{title}:\n\n| {' | '.join((column, *TERMS))} |\n|{'---|' * 4}", flush=True)


def print_row(name: str, values: Mapping[str, float]) -> None:
    """Print a row of a table."""
    print(f"| {name} | {' | '.join(f'{value:.4g}' for value in values.values())} |", flush=True)


def draw_sheet(file: Path, pictures: Mapping[str, Path]) -> None:
    """Draw pictures in a row, each under its name."""
    reports.grid(file, column_axis="", columns=[*pictures], row_axis=None, rows=[""], pictures=[[*pictures.values()]])


def main() -> None:
    """Make the missing runs, and print three tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("content")
    parser.add_argument("style")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs and sheets")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--short-steps", type=int, default=1000)
    arguments = parser.parse_args()
    pictures, out = (arguments.content, arguments.style), Path(arguments.out)

    def set_up(experiment: Experiment) -> Experiment:
        return experiment.replace(size=arguments.size, weights=arguments.weights)

    def shorten(experiment: Experiment) -> Experiment:
        return set_up(experiment).replace(steps=arguments.short_steps, snapshots=())

    def compare(title: str, column: str, experiments: Mapping[str, Experiment]) -> None:
        print_head(f"{title} after {arguments.short_steps} steps", column)
        outputs = {}
        for index, (name, experiment) in enumerate(experiments.items()):
            folder = out / f"{title.replace(' ', '-')}-{index}"
            short = set_up(experiment).replace(steps=arguments.short_steps, snapshots=())
            result = make_run(pictures, short, folder)
            outputs[name] = folder / "output.png"
            print_row(name, read_terms(result, result.steps))
        draw_sheet(out / f"{title.replace(' ', '-')}.png", outputs)

    recipe = nstjax.load("long-run")
    out.mkdir(parents=True, exist_ok=True)
    compare("open choices", "choice", make_choices(recipe))
    weight = settle(set_up(recipe), Listener())[0].config.loss_weights["style"]
    factors = {f"{factor:g}": recipe.replace(loss_weights={"style": factor * weight}) for factor in STYLE_FACTORS}
    compare("style weights", "times the recipe's", factors)

    print_head(f"one run of {recipe.config.total_steps:,} steps", "step")
    result = make_run(pictures, set_up(recipe), out / "long-run")
    for step in recipe.config.snapshots:
        print_row(f"{step:,}", read_terms(result, step))


if __name__ == "__main__":
    main()
