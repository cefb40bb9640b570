"""Features, loss and gradient on an accelerator, compared with the CPU's in float32.

    python experiments/benchmarks/gpu_accuracy.py example:portrait example:brushwork

The terms and layers are those of the ``default`` preset. Without a GPU the CPU is compared with itself, which shows
that the comparison works, and the effect of bfloat16.
"""

import argparse
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from interleaved import compare_gradients

from nstjax.callbacks import Listener
from nstjax.experiment.choice import settle
from nstjax.experiment.experiment import Experiment, load
from nstjax.experiment.inputs import Inputs, prepare
from nstjax.experiment.resolve import Resolved, resolve
from nstjax.runs import compiling

ARITHMETICS: Mapping[str, Mapping[str, Any]] = {
    "float32": {"precision": "highest"},
    "tf32": {"precision": "high"},
    "bfloat16": {"dtype": "bfloat16"},
}


def evaluate(resolved: Resolved, inputs: Inputs) -> dict[str, np.ndarray]:
    """Return the features, each term's loss and the gradient of the start picture, on JAX's default device."""
    method, network = resolved.method, resolved.network
    weights = {name: jnp.float32(resolved.config.loss_weights[name]) for name in method.objective.names}

    @jax.jit
    def evaluate_all(network: Any, pictures: Any, start: Any) -> Any:
        targets, guides = compiling.make_target_function(resolved, inputs)(network, pictures)

        def loss(picture: Any) -> Any:
            return method.objective(picture, network=network, targets=targets, weights=weights, guides=guides)

        (total, parts), gradient = jax.value_and_grad(loss, has_aux=True)(start)
        features = network.features(start, method.objective.layers)
        return {**features, **{f"loss: {name}": part for name, part in {**parts, "total": total}.items()}}, gradient

    with compiling.set_precision(resolved.config):
        values, gradient = evaluate_all(network, compiling.collect_pictures(inputs), jnp.asarray(inputs.start))
    return jax.tree.map(np.asarray, {**values, "gradient": gradient})


def evaluate_on(device: Any, experiment: Experiment, content: str, style: str) -> dict[str, np.ndarray]:
    """Prepare a run and evaluate its start on a device."""
    with jax.default_device(device):
        experiment, choice = settle(experiment, Listener())
        inputs = prepare(content, style, experiment.config)
        return evaluate(resolve(experiment, choice, inputs, Listener()), inputs)


def relative_error(array: Any, expected: Any) -> float:
    """Return the norm of the difference over that of the expected array, or the former alone if the latter is 0."""
    array, expected = np.asarray(array, np.float64), np.asarray(expected, np.float64)
    difference, norm = np.linalg.norm(array - expected), np.linalg.norm(expected)
    return float(difference / norm) if norm else float(difference)


def main() -> None:
    """Print a table with one row per arithmetic and one column per value."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("content")
    parser.add_argument("style")
    parser.add_argument("--weights", default="auto")
    parser.add_argument("--size", type=int, default=256)
    arguments = parser.parse_args()
    experiment = load("default").replace(
        weights=arguments.weights, sizes=arguments.size, init_noise=0.3, convolution="direct"
    )
    pictures = arguments.content, arguments.style
    expected = evaluate_on(jax.devices("cpu")[0], experiment.replace(precision="highest"), *pictures)
    device = jax.devices()[0]
    print(f"Relative error on {device.device_kind}, against the CPU's float32, {arguments.size} pixels\n")
    print("|  |", *(f"{name} |" for name in (*expected, "gradient: cosine")))
    print("|---|" + "---|" * (len(expected) + 1))
    for name, options in ARITHMETICS.items():
        values = evaluate_on(device, experiment.replace(**options), *pictures)
        errors = [f"{relative_error(values[column], reference):.1e} |" for column, reference in expected.items()]
        cosine, _ = compare_gradients(values["gradient"].ravel(), expected["gradient"].ravel())
        print(f"| {name} |", *errors, f"{cosine:.6f} |", flush=True)


if __name__ == "__main__":
    main()
