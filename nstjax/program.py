"""A resolved run as compiled programs: its first state, its problem, its chunk of steps."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from nstjax import device, optimise
from nstjax.config import Config
from nstjax.errors import UserError
from nstjax.inputs import Inputs
from nstjax.optimise import Method, Problem, State, run_chunk
from nstjax.resolve import Resolved
from nstjax.types import Targets
from nstjax.vgg import VGG19

_CPU_FACTOR = 1.6
"""XLA leaves its convolutions' working space out of its count on a CPU: resident memory grew by 1.5 times the count at
256 and 384 pixels."""

_DETERMINISTIC: dict[str, str | bool] = {"xla_gpu_deterministic_ops": True}


@dataclass(frozen=True, eq=False)
class Program:
    """What a run computes with.

    Args:
        problem: the network, the targets, the weights.
        chunk: (state, problem, steps) -> (state, metrics); ``optimise.run_chunk``, compiled.
    """

    problem: Problem
    chunk: Callable[[State, Problem, Any], tuple[State, dict[str, Array]]]


def first_state(resolved: Resolved, inputs: Inputs) -> State:
    """The state before step 0."""
    config = resolved.config
    key = jax.random.key(config.seed)
    return optimise.init(resolved.method, jnp.asarray(inputs.start), learning_rate=config.learning_rate, key=key)


def state_form(resolved: Resolved, inputs: Inputs) -> State:
    """The shapes of a state; nothing is computed."""
    return jax.eval_shape(lambda: first_state(resolved, inputs))


def targets_of(method: Method) -> Callable[[VGG19, Array, Array], Targets]:
    """(network, content, style) -> targets."""

    def targets(network: VGG19, content: Array, style: Array) -> Targets:
        return method.objective.targets(network, content=content, style=style)

    return targets


def compiler_options(config: Config) -> dict[str, str | bool] | None:
    """XLA's, as the settings ask for."""
    return _DETERMINISTIC if config.deterministic else None


def compile(resolved: Resolved, inputs: Inputs) -> Program:
    """Compile a run. Nothing large is computed before it is known to fit.

    Raises:
        UserError: the device has too little memory for pictures of this size.
    """
    config, method, network = resolved.config, resolved.method, resolved.network
    targets = targets_of(method)
    weights = {name: jnp.float32(config.loss_weights[name]) for name in method.objective.names}
    pictures = (jnp.asarray(inputs.content), jnp.asarray(inputs.style))
    options = compiler_options(config)
    make_targets = jax.jit(targets).lower(network, *pictures).compile(options)
    shapes = Problem(network, jax.eval_shape(targets, network, *pictures), weights)
    lowered = run_chunk.lower(state_form(resolved, inputs), shapes, np.int32(0), method=method)
    chunk = lowered.compile(options)
    check_memory(needed_memory(make_targets, chunk), inputs)
    return Program(Problem(network, make_targets(network, *pictures), weights), chunk)


def needed_memory(*programs: Any) -> float:
    """Bytes that the largest of some compiled programs takes on each device, beside what it is given."""
    analyses = [program.memory_analysis() for program in programs]
    needed = max((it.temp_size_in_bytes + it.output_size_in_bytes for it in analyses if it is not None), default=0)
    return needed * (_CPU_FACTOR if jax.default_backend() == "cpu" else 1)


def check_memory(needed: float, inputs: Inputs) -> None:
    """That so much memory is free.

    Raises:
        UserError: it is not; says which size would fit.
    """
    free = device.free_memory()
    if free is not None and needed > free:
        height, width, _ = inputs.content.shape
        fitting = int(max(height, width) * math.sqrt(0.9 * free / needed))
        raise UserError(
            f"a picture of {width}x{height} pixels needs {needed / 2**30:.1f} GiB of memory and {free / 2**30:.1f} GiB "
            f"are free: --size {fitting} would fit"
        )
