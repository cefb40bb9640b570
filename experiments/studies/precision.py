"""The effect of bfloat16 inside the network on features, on the gradient and on the final picture of a run.

    python experiments/studies/precision.py CONTENT STYLE --weights FILE --out runs/precision

prints a table for each and writes both pictures. The run has the terms of the ``default`` preset, down to the layers
that FILE holds. A few minutes for 256 pixels and 100 steps on two CPU cores.
"""

import argparse
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nstjax.callbacks import Listener
from nstjax.experiment.choice import settle
from nstjax.experiment.experiment import load
from nstjax.experiment.inputs import prepare
from nstjax.experiment.resolve import Resolved, resolve
from nstjax.runs import compiling
from nstjax.runs.stylize import run


def relative_error(array: Any, expected: Any) -> float:
    """Return the norm of the difference over the norm of the expected array."""
    array, expected = np.asarray(array, np.float64), np.asarray(expected, np.float64)
    return float(np.linalg.norm(array - expected) / np.linalg.norm(expected))


def cosine(array: Any, expected: Any) -> float:
    """Return the cosine of the angle between two arrays."""
    array, expected = np.asarray(array, np.float64), np.asarray(expected, np.float64)
    return float(np.vdot(array, expected) / np.linalg.norm(array) / np.linalg.norm(expected))


def compute_gradient(resolved: Resolved, problem: Any, start: Any) -> Any:
    """Return the gradient of the loss with respect to the start picture."""

    @jax.jit
    def of(problem: Any, picture: Any) -> Any:
        def loss(picture: Any) -> Any:
            return resolved.method.objective(
                picture, network=problem.network, targets=problem.targets, weights=problem.loss_weights
            )[0]

        return jax.grad(loss)(picture)

    return of(problem, start)


def main() -> None:
    """Compare the precisions and print three tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("content")
    parser.add_argument("style")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--layers", default="style=relu1_1,relu2_1,relu3_1;content=relu3_1")
    parser.add_argument("--out", type=Path, required=True, help="new folder for the runs")
    arguments = parser.parse_args()
    layers = {part.split("=")[0]: tuple(part.split("=")[1].split(",")) for part in arguments.layers.split(";")}
    experiment = load("default").replace(
        weights=arguments.weights,
        sizes=arguments.size,
        steps=arguments.steps,
        layers=layers,
        init_noise=0.05,
    )
    arguments.out.mkdir(parents=True)
    features, gradients, results = [], [], []
    for dtype in ("float32", "bfloat16"):
        variant, choice = settle(experiment.replace(dtype=dtype), Listener())
        inputs = prepare(arguments.content, arguments.style, variant.config)
        resolved = resolve(variant, choice, inputs, Listener())
        start = jnp.asarray(inputs.start)
        features.append(resolved.network.features(start, resolved.method.objective.layers))
        gradients.append(compute_gradient(resolved, compiling.compile(resolved, inputs).problem, start))
        results.append(run(variant, choice, inputs, out=arguments.out / dtype))
    print("| features | relative difference |\n|---|---|")
    for name, expected in features[0].items():
        print(f"| {name} | {relative_error(features[1][name], expected):.1e} |")
    print("\n| gradient at the start | |\n|---|---|")
    print(f"| cosine | {cosine(gradients[1], gradients[0]):.5f} |")
    print(f"| relative difference | {relative_error(gradients[1], gradients[0]):.1e} |")
    single, half = results
    difference = 255 * np.abs(single.picture - half.picture)
    print("\n| final picture | |\n|---|---|")
    print(f"| mean difference, of 255 | {difference.mean():.2f} |")
    print(f"| largest | {difference.max():.0f} |")
    print(f"| last loss, bfloat16 / float32 | {half.metrics['total'][-1] / single.metrics['total'][-1]:.4f} |")


if __name__ == "__main__":
    main()
