"""A resolved run as compiled programs: its first state, its problem, its chunk of steps."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from nstjax import optimise
from nstjax.errors import UserError
from nstjax.experiment.config import Config
from nstjax.experiment.inputs import Inputs
from nstjax.experiment.resolve import Resolved
from nstjax.network.vgg import VGG
from nstjax.optimise import Problem, State, run_chunk
from nstjax.system import devices
from nstjax.types import Guides, Targets

_CPU_FACTOR = 1.6
"""XLA leaves its convolutions' working space out of its count on a CPU: resident memory grew by 1.5 times the count at
256 and 384 pixels."""

T = TypeVar("T")

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


def given(inputs: Inputs) -> dict[str, Any]:
    """The arrays of which targets are made, as a pytree."""
    arrays = {"content": inputs.content, "styles": inputs.styles}
    if inputs.regions is not None:
        arrays |= {"regions": inputs.regions, "style_regions": inputs.style_regions}
    return jax.tree.map(jnp.asarray, arrays)


def targets_of(run: Resolved, inputs: Inputs) -> Callable[[VGG, Any], tuple[Targets, Guides | None]]:
    """(network, what ``given`` returned) -> (targets, guides of the content's regions)."""
    objective, blend = run.method.objective, inputs.blend(run.config)

    def targets(network: VGG, arrays: Any) -> tuple[Targets, Guides | None]:
        found = objective.targets(
            network,
            content=arrays["content"],
            style=arrays["styles"],
            blend=blend,
            style_guides=arrays.get("style_regions"),
        )
        return found, objective.guides(network, arrays["regions"]) if "regions" in arrays else None

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
    weights = {name: jnp.float32(config.loss_weights[name]) for name in method.objective.names}
    pictures = given(inputs)
    form = state_form(resolved, inputs)
    chunk = functools.partial(run_chunk.lower, method=method)
    if config.shard_picture:
        network, weights, pictures = placed((network, weights, pictures), resolved, inputs)
        where = _shardings(form, inputs)
        form = jax.tree.map(_with_sharding, form, where)
        # The state goes back to where it came from, for the next chunk.
        of_strips = functools.partial(run_chunk, method=method)
        chunk = jax.jit(of_strips, donate_argnums=0, out_shardings=(where, None)).lower
    options = compiler_options(config)
    make = targets_of(resolved, inputs)
    make_targets = jax.jit(make).lower(network, pictures).compile(options)
    targets, guides = jax.eval_shape(make, network, pictures)
    if config.shard_picture:
        targets, guides = jax.tree.map(_with_sharding, (targets, guides), make_targets.output_shardings)
    compiled = chunk(form, Problem(network, targets, weights, guides), np.int32(0)).compile(options)
    check_memory(needed_memory(make_targets, compiled), inputs)
    targets, guides = make_targets(network, pictures)
    return Program(Problem(network, targets, weights, guides), compiled)


def placed(tree: T, resolved: Resolved, inputs: Inputs) -> T:
    """Arrays on the device; where a picture is spread over several, those of its shape in strips, the rest on each."""
    return jax.device_put(tree, _shardings(tree, inputs)) if resolved.config.shard_picture else tree


def _shardings(tree: Any, inputs: Inputs) -> Any:
    """Where the arrays of a tree lie.

    Raises:
        UserError: the height cannot be divided among the devices.
    """
    strips, shape = jax.local_devices(), inputs.content.shape
    if shape[0] % len(strips):
        raise UserError(
            f"--shard-picture over {len(strips)} devices needs a height that is a multiple of that, not {shape[0]}: "
            "choose another --size"
        )
    mesh = Mesh(np.array(strips), ("height",), axis_types=(AxisType.Auto,))
    strips, whole = NamedSharding(mesh, PartitionSpec("height")), NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(lambda leaf: strips if leaf.shape == shape else whole, tree)


def _with_sharding(leaf: Any, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


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
    free = devices.free_memory()
    if free is not None and needed > free:
        height, width, _ = inputs.content.shape
        fitting = int(max(height, width) * math.sqrt(0.9 * free / needed))
        raise UserError(
            f"a picture of {width}x{height} pixels needs {needed / 2**30:.1f} GiB of memory and {free / 2**30:.1f} GiB "
            f"are free: --size {fitting} would fit"
        )
