"""The effect of bfloat16 inside the network on features, on the gradient and on the final picture of a run.

    python experiments/studies/precision.py --content A B --style C D --weights FILE --out runs/precision

prints a table for each pair of pictures and writes a sheet of all pictures. Everything is compared with float32; a
direct convolution in float32 shows how far rounding alone leads, and one in bfloat16 rounds where PyTorch rounds:
inputs, kernels and outputs. Features and gradient are those of the content with 5 % of noise. Ten minutes for four
pairs of 256 pixels on two CPU cores.
"""

import argparse
import itertools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from nstjax import reports
from nstjax.callbacks import Listener
from nstjax.experiment.choice import settle
from nstjax.experiment.experiment import load
from nstjax.experiment.inputs import prepare
from nstjax.experiment.resolve import Resolved, resolve
from nstjax.runs import compiling
from nstjax.runs.result import Result
from nstjax.runs.stylize import stylize
from nstjax.types import Features

VARIANTS: dict[str, dict[str, Any]] = {
    "float32": {"convolution": "winograd"},
    "float32, direct": {"convolution": "direct"},
    "bfloat16": {"convolution": "winograd", "dtype": "bfloat16"},
    "bfloat16, direct": {"convolution": "direct", "dtype": "bfloat16"},
}
"""{name: settings}; the first is the reference."""

TILE = 256
"""Width of a picture on the sheet, in pixels."""


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


def measure(content: str, style: str, recipe: Any, settings: dict[str, Any], out: Path) -> tuple[Features, Any, Result]:
    """Return the features and the gradient at the noisy content, and the result of a run."""
    size = recipe.config.every_size[-1]
    noisy, choice = settle(recipe.replace(sizes=size, init_noise=0.05, **settings), Listener())
    inputs = prepare(content, style, noisy.config)
    resolved = resolve(noisy, choice, inputs, Listener())
    start = jnp.asarray(inputs.start)
    features = jax.jit(lambda network, start: network.features(start, resolved.method.objective.layers))
    gradient = compute_gradient(resolved, compiling.compile(resolved, inputs).problem, start)
    result = stylize(content, style, experiment=recipe.replace(**settings), out=out, listener=Listener())
    return features(resolved.network, start), gradient, result


def format_table(measured: dict[str, tuple[Features, Any, Result]]) -> str:
    """Format what differs from the first variant."""
    (_, (features, gradient, result)), *others = measured.items()
    columns = [f"features at {name}" for name in features]
    columns += ["gradient: cosine", "last loss / float32", "mean difference of the pictures, of 255", "largest"]
    rows = [["convolutions", *columns], ["---"] * (1 + len(columns))]
    for name, (other_features, other_gradient, other) in others:
        errors = [f"{relative_error(other_features[layer], features[layer]):.1e}" for layer in features]
        loss = other.metrics["total"][-1] / result.metrics["total"][-1]
        difference = 255 * np.abs(other.picture - result.picture)
        pictures = [f"{difference.mean():.1f}", f"{difference.max():.0f}"]
        rows.append([name, *errors, f"{cosine(other_gradient, gradient):.5f}", f"{loss:.4f}", *pictures])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    """Compare the precisions; print the tables and draw the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--content", nargs="+", required=True)
    parser.add_argument("--style", nargs="+", required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--recipe", default="default", help="a preset or an experiment file")
    parser.add_argument("--out", type=Path, required=True, help="new folder for the runs and the sheet")
    arguments = parser.parse_args()
    recipe = load(arguments.recipe).replace(weights=arguments.weights, size=arguments.size)
    rows: dict[str, list[Path | None]] = {}
    for content, style in itertools.product(arguments.content, arguments.style):
        pair = f"{Path(content).stem}, {Path(style).stem}"
        folders = {name: arguments.out / f"{pair}, {name}" for name in VARIANTS}
        measured = {name: measure(content, style, recipe, VARIANTS[name], folders[name]) for name in VARIANTS}
        rows[pair] = [folder / "output.png" for folder in folders.values()]
        print(f"## {pair}\n\n{format_table(measured)}\n", flush=True)
    sheet = arguments.out / "sheet.png"
    names = {"column_axis": "", "columns": [*VARIANTS], "row_axis": "", "rows": [*rows]}
    reports.grid(sheet, **names, pictures=[*rows.values()], width=TILE)
    with Image.open(sheet) as picture:
        picture.save(sheet.with_suffix(".jpg"), quality=85)


if __name__ == "__main__":
    main()
