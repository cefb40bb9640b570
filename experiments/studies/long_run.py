"""The effect of the long-run recipe's weights and iterations, at a size that a CPU can afford.

    python experiments/studies/long_run.py CONTENT STYLE --weights FILE --out runs/long-run-study

prints two tables of the style and content distances and the picture's total variation: for four style weights after
``--sweep-steps`` steps, and for one run of 30,000 steps at each snapshot. A sheet of the snapshots is in the folder of
the run. About half an hour at 64 pixels on two CPU cores. FILE must reach block5_conv2; without such weights, see
``experiments/comparison/hybrid_weights.py``.
"""

import argparse
from pathlib import Path

import numpy as np

import nstjax
from nstjax import Config
from nstjax.experiment.experiment import load

STYLE_WEIGHTS = (1e2, 1e3, 1e4, 1e5)


def read_terms(result: nstjax.Result, step: int) -> dict[str, float]:
    """Return the terms of the last logged step up to ``step``."""
    index = int(np.searchsorted(result.metrics["step"], step, side="right")) - 1
    return {name: float(result.metrics[name][index]) for name in ("content", "style", "tv")}


def main() -> None:
    """Run the study and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("content")
    parser.add_argument("style")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--out", type=Path, required=True, help="new folder for the long run")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--sweep-steps", type=int, default=1000)
    arguments = parser.parse_args()
    config: Config = load("long-run").config
    common = {"experiment": "long-run", "size": arguments.size, "weights": arguments.weights}

    print(f"style weight after {arguments.sweep_steps} steps:\n\n| weight | style | content | tv |\n|---|---|---|---|")
    short = {"steps": arguments.sweep_steps, "snapshots": (), "log_every": arguments.sweep_steps}
    for weight in STYLE_WEIGHTS:
        result = nstjax.stylize(arguments.content, arguments.style, loss_weights={"style": weight}, **common, **short)
        values = read_terms(result, arguments.sweep_steps)
        print(f"| {weight:.0e} | {values['style']:.4g} | {values['content']:.4g} | {values['tv']:.4g} |", flush=True)

    print(f"\none run of {config.total_steps} steps:\n\n| step | style | content | tv |\n|---|---|---|---|")
    result = nstjax.stylize(arguments.content, arguments.style, out=arguments.out, **common)
    for step in config.snapshots:
        values = read_terms(result, step)
        print(f"| {step:,} | {values['style']:.4g} | {values['content']:.4g} | {values['tv']:.4g} |")


if __name__ == "__main__":
    main()
