"""Compiling a run: its initial state, its problem, and its chunk of steps."""

import contextlib
import dataclasses
import functools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import NamedSharding

from nstjax import divergence, optimise
from nstjax.errors import UserError
from nstjax.experiment import tiles
from nstjax.experiment.config import Config
from nstjax.experiment.inputs import Inputs
from nstjax.experiment.resolve import Resolved
from nstjax.network.vgg import VGG
from nstjax.optimise import Problem, State, run_chunk
from nstjax.parameterisation import find_finest_details
from nstjax.system import cluster, devices
from nstjax.system.devices import CPU_FACTOR
from nstjax.types import Guides, Targets

_DETERMINISTIC: dict[str, str | bool] = {"xla_gpu_deterministic_ops": True}

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Program:
    """A compiled chunk, and the problem that it is called with.

    Args:
        problem: the network, the targets, the weights.
        complete: returns the problem with the targets that depend on the start of the size of a state.
        chunk: (state, problem, steps) -> (state, metrics); ``optimise.run_chunk``, compiled.
        measure_scale: returns the ``scale`` of the problem, which is 0 until a loss seems to have diverged: to measure
            it takes a program of its own, which few runs need.
    """

    problem: Problem
    complete: Callable[[State], Problem]
    chunk: Callable[[State, Problem, Any], tuple[State, dict[str, Array]]]
    measure_scale: Callable[[], Array]


def make_initial_state(resolved: Resolved, inputs: Inputs) -> State:
    """Make the state before step 0."""
    config = resolved.config
    key = jax.random.key(config.seed)
    return optimise.init(resolved.method, make_start(config, inputs), learning_rate=config.first_rate, key=key)


def make_start(config: Config, inputs: Inputs) -> Array:
    """Return the picture to start from, with the details of the content if the settings ask for them."""
    start = jnp.asarray(inputs.start)
    return start + find_finest_details(jnp.asarray(inputs.content)) if config.content_details else start


def make_abstract_state(resolved: Resolved, inputs: Inputs) -> State:
    """Make a state of ``ShapeDtypeStruct`` leaves. Nothing is computed."""
    return jax.eval_shape(lambda: make_initial_state(resolved, inputs))


def collect_pictures(inputs: Inputs) -> dict[str, Any]:
    """Collect the arrays that the targets are computed from, as a pytree."""
    arrays = {"content": inputs.content, "styles": inputs.styles}
    if inputs.regions is not None:
        arrays |= {"regions": inputs.regions, "style_regions": inputs.style_regions}
    elif inputs.style_alphas:
        arrays |= {"style_alphas": inputs.style_alphas}
    return jax.tree.map(jnp.asarray, arrays)


def make_target_function(resolved: Resolved, inputs: Inputs) -> Callable[[VGG, Any], tuple[Targets, Guides | None]]:
    """Return the function that computes a run's targets.

    Args:
        resolved: the run, with its objective.
        inputs: its pictures; only their regions and their number matter here.

    Returns:
        (network, pictures) -> (targets, guides of the content's regions), with ``pictures`` from ``collect_pictures``.
    """
    objective, blend = resolved.method.objective, inputs.style_shares(resolved.config)

    def targets(network: VGG, pictures: Any) -> tuple[Targets, Guides | None]:
        values = objective.targets(
            network,
            content=pictures["content"],
            style=pictures["styles"],
            blend=blend,
            style_guides=pictures.get("style_regions"),
            style_alphas=pictures.get("style_alphas"),
        )
        return values, objective.guides(network, pictures["regions"]) if "regions" in pictures else None

    return targets


def choose_compiler_options(config: Config) -> dict[str, str | bool] | None:
    """Choose XLA's options; None for its defaults."""
    return _DETERMINISTIC if config.deterministic else None


def set_precision(config: Config) -> contextlib.AbstractContextManager[Any]:
    """Set the precision of products outside of the network, such as Gram matrices, unless JAX's settings name one.

    The precision is the network's, except that "default" is "high" here: where JAX's default is a single pass of
    bfloat16 (TPUs), it is too coarse for losses that subtract large numbers.
    """
    precision = "highest" if config.precision == "highest" else "high"
    return jax.default_matmul_precision(jax.config.values["jax_default_matmul_precision"] or precision)


def compile(
    resolved: Resolved, inputs: Inputs, *, tell_cost: Callable[[float, float], object] = lambda seconds, memory: None
) -> Program:
    """Compile a run. Nothing large is computed until the run is known to fit into memory.

    Args:
        resolved: the run, at one size.
        inputs: its pictures.
        tell_cost: told what a step by tiles will take: seconds, from the time of the targets, and bytes of memory,
            with what is in use already.

    Raises:
        UserError: the device has too little memory for pictures of this size.
    """
    config, method, network = resolved.config, resolved.method, resolved.network
    weights = {name: jnp.float32(config.loss_weights[name]) for name in method.objective.names}
    pictures = collect_pictures(inputs)
    state = make_abstract_state(resolved, inputs)
    lower_chunk = functools.partial(run_chunk.lower, method=method)
    everywhere = _choose_sharding(resolved)
    if everywhere is not None:
        network, weights, pictures = device_put((network, weights, pictures), resolved)
        state = _add_sharding(state, everywhere)
        # The next chunk wants the state where this one found it.
        chunk = functools.partial(run_chunk, method=method)
        lower_chunk = jax.jit(chunk, donate_argnums=0, out_shardings=everywhere).lower
    options = choose_compiler_options(config)

    def compile_function(function: Callable[..., Any], *arguments: Any) -> tuple[Any, Any]:
        """Return the compiled function, and its results with ``ShapeDtypeStruct`` leaves."""
        with set_precision(config):
            program = jax.jit(function, out_shardings=everywhere).lower(*arguments).compile(options)
        return program, _add_sharding(jax.eval_shape(function, *arguments), everywhere)

    compute_targets, (targets, guides) = compile_function(make_target_function(resolved, inputs), network, pictures)
    complete_targets = None
    if method.objective.needs_start:
        complete_targets, targets = compile_function(method.objective.complete_targets, targets, network, state.start)
    scale = jnp.float32(0)
    problem = Problem(network, targets, weights, guides, scale)
    with set_precision(config):
        compiled_chunk = lower_chunk(state, problem, np.int32(0)).compile(options)
    programs = (compute_targets, complete_targets, compiled_chunk)
    # The steps by tiles that take as long as the targets; 0 for a picture that is computed at once.
    steps = tiles.count_targets(method.objective, network, inputs)
    check_memory(measure_memory(*filter(None, programs), by_tiles=steps > 0), inputs, config)
    begun = time.perf_counter()
    targets, guides = compute_targets(network, pictures)
    if steps:
        jax.block_until_ready(targets)
        seconds = (time.perf_counter() - begun) / steps
        tell_cost(seconds, devices.used_memory() + measure_memory(compiled_chunk, by_tiles=True))
    problem = Problem(network, targets, weights, guides, scale)

    def complete(state: State) -> Problem:
        if complete_targets is None:
            return problem
        return dataclasses.replace(problem, targets=complete_targets(targets, network, state.start))

    def measure_scale() -> Array:
        with set_precision(config):
            content = device_put(jnp.asarray(inputs.content), resolved)
            arguments = (network, content, targets, weights, guides)
            return divergence.measure_scale(*arguments, objective=method.objective)

    return Program(problem, complete, compiled_chunk, measure_scale)


def device_put(tree: T, resolved: Resolved) -> T:
    """Put arrays on every device that shares the tiles of the picture; otherwise, return them as they are."""
    return cluster.replicate(tree) if resolved.config.shard_picture else tree


def _choose_sharding(resolved: Resolved) -> NamedSharding | None:
    """Choose the sharding of all arrays: a copy on each device, if several share the tiles of the picture."""
    return cluster.make_sharding() if resolved.config.shard_picture else None


def _add_sharding(tree: T, sharding: NamedSharding | None) -> T:
    """Return abstract arrays with a sharding, unless there is none."""
    if sharding is None:
        return tree
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree)


def measure_memory(*programs: Any, by_tiles: bool = False) -> float:
    """Return the bytes that the largest of some compiled programs takes on each device, not counting its arguments.

    By tiles, what the convolutions take besides XLA's count is small, as the tiles are.
    """
    analyses = filter(None, (program.memory_analysis() for program in programs))
    sizes = (analysis.temp_size_in_bytes + analysis.output_size_in_bytes for analysis in analyses)
    return max(sizes, default=0) * (CPU_FACTOR if jax.default_backend() == "cpu" and not by_tiles else 1)


def check_memory(needed: float, inputs: Inputs, config: Config) -> None:
    """Raise if `needed` bytes are not free.

    Raises:
        UserError: they are not; the message names a size that would fit.
    """
    free = devices.available_memory()
    if free is not None and needed > free:
        height, width, _ = inputs.content.shape
        size = int(max(height, width) * math.sqrt(0.9 * free / needed))
        raise UserError(
            f"a picture of {width}x{height} pixels needs {needed / 2**30:.1f} GiB of memory, but only "
            f"{free / 2**30:.1f} GiB are free: --size {size} would fit"
            + (f", or tiles smaller than --tile {config.tile}" if isinstance(config.tile, int) else "")
        )
