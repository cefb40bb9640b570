"""What bfloat16 inside the network changes: features, the gradient, and the picture that a run ends with.

    python experiments/studies/precision.py CONTENT STYLE --weights FILE --out runs/precision

prints a table for each and writes both pictures. The run is the ``default`` preset's, down to the layers that FILE
holds. 256 pixels and 100 steps take a few minutes on two CPU cores.
"""

import argparse
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nstjax.callbacks import Listener
from nstjax.experiment.experiment import load
from nstjax.experiment.inputs import prepare
from nstjax.experiment.resolve import Resolved, resolve
from nstjax.runs import compiling
from nstjax.runs.stylize import run


def relative(found: Any, expected: Any) -> float:
    """Norm of the difference over the norm."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def cosine(found: Any, expected: Any) -> float:
    """Of the angle between two arrays."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    return float(np.vdot(found, expected) / np.linalg.norm(found) / np.linalg.norm(expected))


def gradient(resolved: Resolved, problem: Any, start: Any) -> Any:
    """Of the loss with respect to the start picture."""

    @jax.jit
    def of(problem: Any, picture: Any) -> Any:
        def loss(picture: Any) -> Any:
            return resolved.method.objective(
                picture, network=problem.network, targets=problem.targets, weights=problem.weights
            )[0]

        return jax.grad(loss)(picture)

    return of(problem, start)


def main() -> None:
    """Compare, print three tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("content")
    parser.add_argument("style")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--layers", default="style=relu1_1,relu2_1,relu3_1;content=relu3_1")
    parser.add_argument("--out", type=Path, required=True, help="new folder for the runs")
    arguments = parser.parse_args()
    layers = {it.split("=")[0]: tuple(it.split("=")[1].split(",")) for it in arguments.layers.split(";")}
    experiment = load("default").replace(
        weights=arguments.weights,
        size=arguments.size,
        smallest_size=None,
        steps=arguments.steps,
        layers=layers,
        init_noise=0.05,
    )
    arguments.out.mkdir(parents=True)
    features, gradients, results = [], [], []
    for dtype in ("float32", "bfloat16"):
        it = experiment.replace(dtype=dtype)
        inputs = prepare(arguments.content, arguments.style, it.config)
        resolved = resolve(it, inputs, Listener())
        start = jnp.asarray(inputs.start)
        features.append(resolved.network.features(start, resolved.method.objective.layers))
        gradients.append(gradient(resolved, compiling.compile(resolved, inputs).problem, start))
        results.append(run(it, inputs, out=arguments.out / dtype))
    print("| features | relative difference |\n|---|---|")
    for name, expected in features[0].items():
        print(f"| {name} | {relative(features[1][name], expected):.1e} |")
    print("\n| gradient at the start | |\n|---|---|")
    print(f"| cosine | {cosine(gradients[1], gradients[0]):.5f} |")
    print(f"| relative difference | {relative(gradients[1], gradients[0]):.1e} |")
    full, half = results
    difference = 255 * np.abs(full.picture - half.picture)
    print("\n| final picture | |\n|---|---|")
    print(f"| mean difference, of 255 | {difference.mean():.2f} |")
    print(f"| largest | {difference.max():.0f} |")
    print(f"| last loss, bfloat16 / float32 | {half.metrics['total'][-1] / full.metrics['total'][-1]:.4f} |")


if __name__ == "__main__":
    main()
