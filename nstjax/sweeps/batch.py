"""A sweep's members as one compiled program, with their states stacked along a leading axis.

Members share the method, the network, and the targets that are the same for all of them. What they share is in memory
once.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Float, Int

from nstjax import divergence, optimise
from nstjax.callbacks import Listener
from nstjax.errors import UserError
from nstjax.experiment.inputs import Inputs
from nstjax.experiment.resolve import Resolved
from nstjax.optimise import Method, Problem, State, trace_chunk
from nstjax.runs import compiling
from nstjax.runs.compiling import Program
from nstjax.runs.stages import find_details
from nstjax.system import devices
from nstjax.types import Targets, Term

_MEMORY_SHARE = 0.9
"""The share of the free memory that a group may take. The rest is for what the estimate does not see."""


class Members:
    """The members of a sweep, at one size of the picture.

    Args:
        runs: the run of each member.
        inputs: the pictures of each member; equal pictures are the same arrays.
        devices: the devices that the members are spread over.

    Attributes:
        method: the method that all members share.
        config: the settings of the first member.
        pictures: the pictures of the first member.

    Raises:
        UserError: the pictures or the targets differ in shape.
    """

    def __init__(self, runs: Sequence[Resolved], inputs: Sequence[Inputs], devices: Sequence[Any]):
        self._runs, self._inputs = runs, inputs
        self.method, self._network, self.config = runs[0].method, runs[0].network, runs[0].config
        self.pictures = inputs[0]
        self._mesh = Mesh(np.array(devices), ("members",), axis_types=(AxisType.Auto,))
        self._spread = NamedSharding(self._mesh, PartitionSpec("members"))
        self._whole = NamedSharding(self._mesh, PartitionSpec(None))
        if len(shapes := {pictures.content.shape for pictures in inputs}) > 1:
            sizes = ", ".join(f"{width}x{height}" for height, width, _ in sorted(shapes))
            raise UserError(f"the content pictures of a sweep must be of one size, not {sizes}: crop them to one size")
        self._compute_targets = jax.jit(compiling.make_target_function(runs[0], inputs[0]))
        self._complete_targets = jax.jit(self._trace_complete_targets)
        self._distinct_inputs = {identify_pictures(pictures): pictures for pictures in inputs}
        forms = [
            jax.eval_shape(self._compute_targets, self._network, compiling.collect_pictures(pictures))
            for pictures in self._distinct_inputs.values()
        ]
        if any(str(form) != str(forms[0]) for form in forms):
            raise UserError("the style pictures of this sweep give targets of different shapes: crop them to one size")
        self._abstract_targets, self._abstract_guides = forms[0]
        contents, styles = ({identity[k] for identity in self._distinct_inputs} for k in (0, 1))
        differs = {"content": len(contents) > 1, "style": len(styles) > 1}
        terms = (term for term in self.method.objective.terms if isinstance(term, Term))
        # Each member has its own start.
        differs |= {"both": any(differs.values()) or self.method.objective.needs_start}
        self._varying = frozenset(
            term.name for term in terms if differs["both" if callable(term.target) else term.target]
        )
        self._targets: dict[Any, Any] = {}
        self._compiled: dict[int, Any] = {}

    @property
    def device_count(self) -> int:
        """Number of devices that the members are spread over."""
        return self._mesh.size

    def measure_memory(self, compiled: Any) -> float:
        """Return the bytes that a program takes in the memory that ``devices.available_memory`` looks at."""
        # On a CPU all devices share one memory.
        sharing = self._mesh.size if jax.default_backend() == "cpu" else 1
        return sharing * compiling.measure_memory(compiled)

    def make_abstract_state(self, size: int) -> State:
        """Make a stacked state of `size` members with ``ShapeDtypeStruct`` leaves."""
        single = compiling.make_abstract_state(self._runs[0], self._inputs[0])
        return _abstract(single, self._spread, size)

    def compile(self, size: int) -> Any:
        """Compile the program for `size` members, a multiple of the devices; at the first call only."""
        if size not in self._compiled:
            self._compiled[size] = self._compile(size)
        return self._compiled[size]

    def _compile(self, size: int) -> Any:
        weights = {name: _abstract(jnp.float32(0), self._spread, size) for name in self.method.objective.names}
        targets = {
            name: _abstract(target, self._choose_sharding(name), *([size] if name in self._varying else []))
            for name, target in self._abstract_targets.items()
        }
        guides = _abstract(self._abstract_guides, self._whole)
        scale = _abstract(jnp.float32(0), self._spread, size)
        state, network = self.make_abstract_state(size), _abstract(self._network, self._whole)
        if self.method.objective.needs_start:
            completed = jax.eval_shape(self._complete_targets, targets, network, state.start)
            targets = {name: _abstract(target, self._choose_sharding(name)) for name, target in completed.items()}
        problem = Problem(network, targets, weights, guides, scale)
        with compiling.set_precision(self.config):
            lowered = run_chunks.lower(
                state, problem, np.int32(0), method=self.method, varying=self._varying, mesh=self._mesh
            )
        return lowered.compile(compiling.choose_compiler_options(self.config))

    def make_initial_state(self, members: Sequence[int]) -> State:
        """Make the initial states of the given members, stacked."""
        starts = jnp.stack([compiling.make_start(self.config, self._inputs[member]) for member in members])
        rates = jnp.array([self._runs[member].config.first_rate for member in members], jnp.float32)
        keys = jnp.stack([jax.random.key(self._runs[member].config.seed) for member in members])
        return self.device_put(jax.vmap(self._init)(starts, rates, keys))

    def find_details(self, members: Sequence[int], index: int) -> Array | None:
        """Find what the change to a stage adds to the given members' pictures, stacked; None for nothing."""
        details = [find_details(self.config, self._inputs[member], index) for member in members]
        added = [picture for picture in details if picture is not None]
        return jnp.stack(added) if added else None

    def device_put(self, state: State) -> State:
        """Spread a stacked state over the devices."""
        return jax.device_put(state, self._spread)

    def make_program(self, members: Sequence[int]) -> Program:
        """Make the program of the given members, with their targets and weights."""
        computed = [self._get_targets(self._inputs[member]) for member in members]
        first_targets, guides = computed[0]
        targets = {}
        for name, target in first_targets.items():
            if name in self._varying:
                target = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(values[name] for values, _ in computed))
            targets[name] = jax.device_put(target, self._choose_sharding(name))
        weights = {
            name: jnp.array([self._runs[member].config.loss_weights[name] for member in members], jnp.float32)
            for name in self.method.objective.names
        }
        weights, scale = jax.device_put((weights, jnp.zeros(len(members), jnp.float32)), self._spread)
        network, guides = jax.device_put((self._network, guides), self._whole)
        problem = Problem(network, targets, weights, guides, scale)
        chunk, measure_scales = self.compile(len(members)), functools.partial(self._measure_scales, members)
        return Program(problem, functools.partial(self._complete, problem), chunk, measure_scales)

    def _complete(self, problem: Problem, state: State) -> Problem:
        """Return a stacked problem with the targets that depend on the start of the size of a stacked state."""
        if not self.method.objective.needs_start:
            return problem
        with compiling.set_precision(self.config):
            completed = self._complete_targets(problem.targets, problem.network, state.start)
        targets = {name: jax.device_put(target, self._choose_sharding(name)) for name, target in completed.items()}
        return replace(problem, targets=targets)

    def _trace_complete_targets(self, targets: Targets, network: Any, starts: Array) -> Targets:
        axes = {name: 0 if name in self._varying else None for name in targets}
        complete = self.method.objective.complete_targets
        return jax.vmap(complete, in_axes=(axes, None, 0), out_axes=axes)(targets, network, starts)

    def _choose_sharding(self, term: str) -> NamedSharding:
        return self._spread if term in self._varying else self._whole

    def _measure_scales(self, members: Sequence[int]) -> Array:
        """Return the scale of the loss of each of the given members, stacked."""
        scales = []
        for member in members:
            targets, guides = self._get_targets(self._inputs[member])
            weights = {name: jnp.float32(weight) for name, weight in self._runs[member].config.loss_weights.items()}
            arguments = (self._network, jnp.asarray(self._inputs[member].content), targets, weights, guides)
            with compiling.set_precision(self.config):
                scales.append(divergence.measure_scale(*arguments, objective=self.method.objective))
        return jax.device_put(jnp.stack(scales), self._spread)

    def _init(self, picture: Array, rate: Array, key: Array) -> State:
        return optimise.init(self.method, picture, learning_rate=rate, key=key)

    def _get_targets(self, inputs: Inputs) -> Any:
        identity = identify_pictures(inputs)
        if identity not in self._targets:
            pictures = compiling.collect_pictures(self._distinct_inputs[identity])
            with compiling.set_precision(self.config):
                self._targets[identity] = self._compute_targets(self._network, pictures)
        return self._targets[identity]


def _abstract(tree: Any, sharding: NamedSharding, *size: int) -> Any:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((*size, *leaf.shape), leaf.dtype, sharding=sharding), tree)


def identify_pictures(inputs: Inputs) -> tuple[int, tuple[int, ...]]:
    """Return a key that is equal for members whose content and styles are the same arrays."""
    return id(inputs.content), tuple(map(id, (*inputs.styles, *inputs.style_alphas)))


def choose_group_size(
    stages: Sequence[Members], numbers: Sequence[int], inputs: Inputs, *, group_size: int | None, listener: Listener
) -> int:
    """Choose how many members are computed together: a multiple of the number of devices.

    Args:
        stages: all members of the sweep, at each stage that has the last size.
        numbers: the members that this process computes.
        inputs: the pictures of any member.
        group_size: number of members asked for; None for as many as fit into memory.
        listener: told of the choice.

    Raises:
        UserError: not even one member fits into memory.
    """

    def measure(size: int) -> float:
        return max(members.measure_memory(members.compile(size)) for members in stages)

    count, device_count = len(numbers), stages[0].device_count
    if group_size is not None and group_size < 1:
        raise UserError(f"group-size must be at least 1, not {group_size}")
    size = _round_up(min(group_size or count, count), device_count)
    needed, free = measure(size), devices.available_memory()
    if group_size is None and free is not None and needed > _MEMORY_SHARE * free:
        # Memory is linear in the number of members on each device.
        one, two = measure(device_count), measure(2 * device_count)
        compiling.check_memory(one, inputs, stages[0].config)
        most = device_count * (1 + int(max(_MEMORY_SHARE * free - one, 0) / max(two - one, 1)))
        # As many groups as that takes, of about equal size.
        size = _round_up(math.ceil(count / math.ceil(count / most)), device_count)
        for members in stages:
            members.compile(size)
    where = f"{device_count} devices" if device_count > 1 else "one device"
    listener.notice(f"{count} members, {min(size, count)} at a time, on {where}")
    return size


def _round_up(number: int, factor: int) -> int:
    return math.ceil(number / factor) * factor


@functools.partial(jax.jit, static_argnames=("method", "varying", "mesh"), donate_argnames="state")
def run_chunks(
    state: State, problem: Problem, steps: int | Int[Array, ""], *, method: Method, varying: frozenset[str], mesh: Mesh
) -> tuple[State, dict[str, Float[Array, "n chunk"]]]:
    """Make some steps of many runs that share the method and the network; see ``optimise.run_chunk``.

    Args:
        state: the stacked states, as many as a multiple of the devices; donated.
        problem: the stacked weights, and the stacked targets of the terms in `varying`; all else is shared.
        steps: number of steps of the run that is furthest; runs that are behind catch up with it.
        method: static.
        varying: names of the terms whose targets differ between the runs; static.
        mesh: a mesh with one axis, "members", that the runs are spread over; static. No device waits for another.

    Returns:
        (state, metrics), as ``optimise.run_chunk`` returns them, stacked.
    """

    def make_specs(stacked: Any, shared: Any) -> Any:
        targets = {name: stacked if name in varying else shared for name in problem.targets}
        return Problem(shared, targets, stacked, shared, stacked)

    def members(state: State, problem: Problem, end: Any) -> tuple[State, dict[str, Array]]:
        def run_one(state: State, problem: Problem) -> tuple[State, dict[str, Array]]:
            return trace_chunk(state, problem, end - state.step, method)

        return jax.vmap(run_one, in_axes=(0, make_specs(0, None)))(state, problem)

    spread, whole = PartitionSpec("members"), PartitionSpec()
    specs = (spread, make_specs(spread, whole), whole)
    run = jax.shard_map(members, mesh=mesh, in_specs=specs, out_specs=spread, check_vma=False)
    return run(state, problem, jnp.max(state.step) + steps)
