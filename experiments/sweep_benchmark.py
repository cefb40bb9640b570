"""What a sweep costs beside single runs, member for member.

    python experiments/sweep_benchmark.py CONTENT STYLE --weights FILE

prints, for 1, 2, 4 … members at a time, the steps that all of them together make in a second, and beside it the time of
a member's step as a ratio to a single run's, which is measured in turn with it. The terms are those of the ``default``
preset, down to the layers that FILE holds. On two CPU cores at 128 pixels, 16 members: a few minutes; on a GPU
take ``--size 256 --members 64``, and 1 to 64 members take minutes.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from nstjax import device, program
from nstjax.experiment import load
from nstjax.inputs import prepare
from nstjax.listener import Listener
from nstjax.many import Members
from nstjax.resolve import resolve, varied


def timed(chunk: Callable[..., Any], state: Any, problem: Any, steps: int) -> tuple[float, Any]:
    """Seconds for some steps, and the state after them."""
    begun = time.perf_counter()
    state, _ = jax.block_until_ready(chunk(state, problem, np.int32(steps)))
    return time.perf_counter() - begun, state


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
    parser.add_argument("--layers", default="style=relu1_1,relu2_1,relu3_1;content=relu3_1")
    arguments = parser.parse_args()
    layers = {it.split("=")[0]: tuple(it.split("=")[1].split(",")) for it in arguments.layers.split(";")}
    experiment = load("default").replace(weights=arguments.weights, size=arguments.size, layers=layers)
    inputs = prepare(arguments.content, arguments.style, experiment.config)
    first = resolve(experiment, inputs, Listener())
    single = program.compile(first, inputs)
    print("\n".join(device.lines()), "\n")
    print("| members | member-steps a second | a member's step / a single run's | from | to |\n|---|---|---|---|---|")
    count = 1
    while count <= arguments.members:
        weights = [{"loss_weights": {"style": float(weight)}} for weight in np.geomspace(0.1, 100, count)]
        runs = [varied(first, experiment, inputs, it) for it in weights]
        members = Members(runs, [inputs] * count, jax.local_devices()[:1])
        together = members.program(range(count))
        state, alone = members.first_state(range(count)), program.first_state(first, inputs)
        seconds, ratios = [], []
        for repeat in range(arguments.repeats + 1):
            of_all, state = timed(together.chunk, state, together.problem, arguments.steps)
            of_one, alone = timed(single.chunk, alone, single.problem, arguments.steps)
            if repeat:  # the first time warms up
                seconds.append(of_all)
                ratios.append(of_all / count / of_one)
        rate = count * arguments.steps / statistics.median(seconds)
        spread = f"{statistics.median(ratios):.3f} | {min(ratios):.3f} | {max(ratios):.3f}"
        print(f"| {count} | {rate:.2f} | {spread} |", flush=True)
        count *= 2


if __name__ == "__main__":
    main()
