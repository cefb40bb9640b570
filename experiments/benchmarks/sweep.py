"""The cost of a sweep compared with single runs, per member.

    python experiments/benchmarks/sweep.py CONTENT STYLE

prints, for 1, 2, 4 … members at a time, the steps per second of all members together, and the time of a member's step
as a ratio to that of a single run; the two are measured in turn. The terms are those of the ``default`` preset, at
``--layers``. On two CPU cores at 128 pixels, 16 members take a few minutes; on a GPU, ``--size 256
--members 64`` takes minutes.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from nstjax.callbacks import Listener
from nstjax.experiment.choice import settle
from nstjax.experiment.experiment import Experiment, load
from nstjax.experiment.inputs import prepare
from nstjax.experiment.resolve import resolve, vary_run
from nstjax.runs import compiling
from nstjax.sweeps.batch import Members
from nstjax.system import devices

LAYERS = "style=relu1_1,relu2_1,relu3_1;content=relu3_1"
HEADER = (
    "| members | member-steps a second | a member's step / a single run's | from | to |",
    "|---|---|---|---|---|",
)


def time_steps(chunk: Callable[..., Any], state: Any, problem: Any, steps: int) -> tuple[float, Any]:
    """Make the given number of steps; return the seconds and the final state."""
    begun = time.perf_counter()
    state, _ = jax.block_until_ready(chunk(state, problem, np.int32(steps)))
    return time.perf_counter() - begun, state


def load_experiment(weights: str, size: int, layers: str) -> Experiment:
    """Load the ``default`` preset with given weights and layers (``term=layer,layer;term=layer``)."""
    layers_of = {part.split("=")[0]: tuple(part.split("=")[1].split(",")) for part in layers.split(";")}
    return load("default").replace(weights=weights, sizes=size, layers=layers_of)


def measure_rows(
    experiment: Experiment, content: str, style: str, *, members: int, steps: int, repeats: int
) -> Iterator[str]:
    """Measure 1, 2, 4 … members at a time, and yield each row of the table as soon as it is known."""
    experiment, choice = settle(experiment, Listener())
    inputs = prepare(content, style, experiment.config)
    first = resolve(experiment, choice, inputs, Listener())
    single = compiling.compile(first, inputs)
    count = 1
    while count <= members:
        variations = [{"loss_weights": {"style": float(weight)}} for weight in np.geomspace(0.1, 100, count)]
        runs = [vary_run(first, experiment, inputs, settings) for settings in variations]
        group = Members(runs, [inputs] * count, jax.local_devices()[:1])
        batch = group.make_program(range(count))
        state, single_state = group.make_initial_state(range(count)), compiling.make_initial_state(first, inputs)
        seconds, ratios = [], []
        for repeat in range(repeats + 1):
            batch_seconds, state = time_steps(batch.chunk, state, batch.problem, steps)
            single_seconds, single_state = time_steps(single.chunk, single_state, single.problem, steps)
            if repeat > 0:  # the first time is a warm-up
                seconds.append(batch_seconds)
                ratios.append(batch_seconds / count / single_seconds)
        rate = count * steps / statistics.median(seconds)
        spread = f"{statistics.median(ratios):.3f} | {min(ratios):.3f} | {max(ratios):.3f}"
        yield f"| {count} | {rate:.2f} | {spread} |"
        count *= 2


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("content")
    parser.add_argument("style")
    parser.add_argument("--weights", default="auto")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--members", type=int, default=16, help="largest number of members at a time")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--layers", default=LAYERS)
    arguments = parser.parse_args()
    recipe = load_experiment(arguments.weights, arguments.size, arguments.layers)
    print("\n".join((*devices.describe_devices(), "", *HEADER)))
    counts = {"members": arguments.members, "steps": arguments.steps, "repeats": arguments.repeats}
    for row in measure_rows(recipe, arguments.content, arguments.style, **counts):
        print(row, flush=True)


if __name__ == "__main__":
    main()
