"""What a sweep costs beside single runs, member for member.

    python experiments/benchmarks/sweep.py CONTENT STYLE --weights FILE

prints, for 1, 2, 4 … members at a time, the steps that all of them together make in a second, and beside it the time of
a member's step as a ratio to a single run's, which is measured in turn with it. The terms are those of the ``default``
preset, down to the layers that FILE holds. On two CPU cores at 128 pixels, 16 members: a few minutes; on a GPU
take ``--size 256 --members 64``, and 1 to 64 members take minutes.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from nstjax.callbacks import Listener
from nstjax.experiment.experiment import Experiment, load
from nstjax.experiment.inputs import prepare
from nstjax.experiment.resolve import resolve, varied
from nstjax.runs import compiling
from nstjax.sweeps.batch import Members
from nstjax.system import devices

LAYERS = "style=relu1_1,relu2_1,relu3_1;content=relu3_1"
HEADER = (
    "| members | member-steps a second | a member's step / a single run's | from | to |",
    "|---|---|---|---|---|",
)


def timed(chunk: Callable[..., Any], state: Any, problem: Any, steps: int) -> tuple[float, Any]:
    """Seconds for some steps, and the state after them."""
    begun = time.perf_counter()
    state, _ = jax.block_until_ready(chunk(state, problem, np.int32(steps)))
    return time.perf_counter() - begun, state


def experiment(weights: str, size: int, layers: str) -> Experiment:
    """The ``default`` preset on some weights, its terms at some layers (``term=layer,layer;term=layer``)."""
    of_terms = {it.split("=")[0]: tuple(it.split("=")[1].split(",")) for it in layers.split(";")}
    return load("default").replace(weights=weights, size=size, smallest_size=None, layers=of_terms)


def rows(experiment: Experiment, content: str, style: str, *, members: int, steps: int, repeats: int) -> Iterator[str]:
    """Measure 1, 2, 4 … members at a time; the table's lines, each as soon as it is known."""
    inputs = prepare(content, style, experiment.config)
    first = resolve(experiment, inputs, Listener())
    single = compiling.compile(first, inputs)
    count = 1
    while count <= members:
        weights = [{"loss_weights": {"style": float(weight)}} for weight in np.geomspace(0.1, 100, count)]
        runs = [varied(first, experiment, inputs, it) for it in weights]
        group = Members(runs, [inputs] * count, jax.local_devices()[:1])
        together = group.program(range(count))
        state, alone = group.first_state(range(count)), compiling.first_state(first, inputs)
        seconds, ratios = [], []
        for repeat in range(repeats + 1):
            of_all, state = timed(together.chunk, state, together.problem, steps)
            of_one, alone = timed(single.chunk, alone, single.problem, steps)
            if repeat:  # the first time warms up
                seconds.append(of_all)
                ratios.append(of_all / count / of_one)
        rate = count * steps / statistics.median(seconds)
        spread = f"{statistics.median(ratios):.3f} | {min(ratios):.3f} | {max(ratios):.3f}"
        yield f"| {count} | {rate:.2f} | {spread} |"
        count *= 2


def main() -> None:
    """Measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("content")
    parser.add_argument("style")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--members", type=int, default=16, help="the most at a time")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--layers", default=LAYERS)
    arguments = parser.parse_args()
    recipe = experiment(arguments.weights, arguments.size, arguments.layers)
    print("\n".join((*devices.lines(), "", *HEADER)))
    repeated = {"members": arguments.members, "steps": arguments.steps, "repeats": arguments.repeats}
    for line in rows(recipe, arguments.content, arguments.style, **repeated):
        print(line, flush=True)


if __name__ == "__main__":
    main()
