"""What the long-run recipe's weights and iterations do, at a size that a CPU can afford.

    python experiments/studies/long_run.py CONTENT STYLE --weights FILE --out runs/long-run-study

prints (1) for four style weights, the style and the content distance after some steps, and (2) of one run of 30,000
steps, both distances and the picture's total variation at each snapshot, whose sheet it leaves in the run's folder. At
64 pixels on two CPU cores: about half an hour. FILE must reach block5_conv2; without real weights, see ``hybrid.py``.
"""

import argparse
from pathlib import Path

import numpy as np

import nstjax
from nstjax import Config
from nstjax.experiment.experiment import load

STYLE_WEIGHTS = (1e2, 1e3, 1e4, 1e5)


def at_step(result: nstjax.Result, step: int) -> dict[str, float]:
    """The terms of the last logged step that is not after ``step``."""
    index = int(np.searchsorted(result.metrics["step"], step, side="right")) - 1
    return {name: float(result.metrics[name][index]) for name in ("content", "style", "tv")}


def main() -> None:
    """Run the study, print two tables."""
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
        it = at_step(result, arguments.sweep_steps)
        print(f"| {weight:.0e} | {it['style']:.4g} | {it['content']:.4g} | {it['tv']:.4g} |", flush=True)

    print(f"\none run of {config.steps} steps:\n\n| step | style | content | tv |\n|---|---|---|---|")
    result = nstjax.stylize(arguments.content, arguments.style, out=arguments.out, **common)
    for step in config.snapshots:
        it = at_step(result, step)
        print(f"| {step:,} | {it['style']:.4g} | {it['content']:.4g} | {it['tv']:.4g} |")


if __name__ == "__main__":
    main()
