"""Many resolved runs as one compiled program, and their states, stacked along a leading axis.

They share the method, the network, and the targets that are the same for all; those are there once.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Float, Int

from nstjax import optimise
from nstjax.callbacks import Listener
from nstjax.errors import UserError
from nstjax.experiment.inputs import Inputs
from nstjax.experiment.resolve import Resolved
from nstjax.optimise import Method, Problem, State, chunk
from nstjax.runs import compiling
from nstjax.runs.compiling import Program
from nstjax.system import devices
from nstjax.types import Term

_MARGIN = 0.9
"""Of the free memory, what a group may take: the rest is for what the estimate does not see."""


class Members:
    """The runs of a sweep.

    Args:
        runs: each of them.
        inputs: of each; pictures that are the same are the same arrays.
        devices: over which they are spread.

    Attributes:
        method: that they share.
        pictures: of one of them.

    Raises:
        UserError: the pictures or the targets are not of one shape.
    """

    def __init__(self, runs: Sequence[Resolved], inputs: Sequence[Inputs], devices: Sequence[Any]):
        self._runs, self._inputs = runs, inputs
        self.method, self._network, self._config = runs[0].method, runs[0].network, runs[0].config
        self.pictures = inputs[0]
        mesh = Mesh(np.array(devices), ("members",), axis_types=(AxisType.Auto,))
        self._mesh = mesh
        self._spread, self._whole = (NamedSharding(mesh, PartitionSpec(it)) for it in ("members", None))
        if len(shapes := {it.content.shape for it in inputs}) > 1:
            sizes = ", ".join(f"{width}x{height}" for height, width, _ in sorted(shapes))
            raise UserError(f"the content pictures of a sweep must be of one size, not {sizes}: crop them alike")
        self._make_targets = jax.jit(compiling.targets_of(runs[0], inputs[0]))
        self._given = {pair(it): it for it in inputs}
        forms = [jax.eval_shape(self._make_targets, self._network, compiling.given(it)) for it in self._given.values()]
        if any(str(form) != str(forms[0]) for form in forms):
            raise UserError("the style pictures of this sweep give targets of different shapes: crop them to one size")
        self._targets_form, self._guides_form = forms[0]
        contents, styles = ({given[which] for given in self._given} for which in (0, 1))
        several = {"content": len(contents) > 1, "style": len(styles) > 1}
        terms = (term for term in self.method.objective.terms if isinstance(term, Term))
        self._varying = frozenset(term.name for term in terms if several[term.target])
        self._targets: dict[Any, Any] = {}
        self._compiled: dict[int, Any] = {}

    @property
    def devices(self) -> int:
        """Over how many they are spread."""
        return self._mesh.size

    def needed_memory(self, compiled: Any) -> float:
        """Bytes that a program takes where the devices' memory lies."""
        shared = self._mesh.size if jax.default_backend() == "cpu" else 1
        return shared * compiling.needed_memory(compiled)

    def form(self, size: int) -> State:
        """The shapes of the state of so many, and where they lie."""
        one = jax.eval_shape(lambda: compiling.first_state(self._runs[0], self._inputs[0]))
        return self._form(one, self._spread, size)

    def compile(self, size: int) -> Any:
        """The program of so many, which is a multiple of the devices; compiled once."""
        if size not in self._compiled:
            self._compiled[size] = self._compile(size)
        return self._compiled[size]

    def _compile(self, size: int) -> Any:
        weights = {name: self._form(jnp.float32(0), self._spread, size) for name in self.method.objective.names}
        targets = {
            name: self._form(it, self._spread, size) if name in self._varying else self._form(it, self._whole)
            for name, it in self._targets_form.items()
        }
        guides = self._form(self._guides_form, self._whole)
        problem = Problem(self._form(self._network, self._whole), targets, weights, guides)
        lowered = run_chunks.lower(
            self.form(size), problem, np.int32(0), method=self.method, varying=self._varying, mesh=self._mesh
        )
        return lowered.compile(compiling.compiler_options(self._config))

    def first_state(self, members: Sequence[int]) -> State:
        """Of these, before step 0."""
        starts = jnp.stack([jnp.asarray(self._inputs[it].start) for it in members])
        rates = jnp.array([self._runs[it].config.learning_rate for it in members], jnp.float32)
        keys = jnp.stack([jax.random.key(self._runs[it].config.seed) for it in members])
        return self.placed(jax.vmap(self._init)(starts, rates, keys))

    def placed(self, state: State) -> State:
        """A stacked state, spread over the devices."""
        return jax.device_put(state, self._spread)

    def program(self, members: Sequence[int]) -> Program:
        """What these compute with."""
        each = [self._targets_of(self._inputs[it]) for it in members]
        targets = {}
        for name, target in each[0][0].items():
            if name in self._varying:
                stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(it[0][name] for it in each))
                targets[name] = jax.device_put(stacked, self._spread)
            else:
                targets[name] = jax.device_put(target, self._whole)
        weights = {
            name: jnp.array([self._runs[it].config.loss_weights[name] for it in members], jnp.float32)
            for name in self.method.objective.names
        }
        network, guides = jax.device_put((self._network, each[0][1]), self._whole)
        problem = Problem(network, targets, jax.device_put(weights, self._spread), guides)
        return Program(problem, self.compile(len(members)))

    def _init(self, picture: Array, rate: Array, key: Array) -> State:
        return optimise.init(self.method, picture, learning_rate=rate, key=key)

    def _targets_of(self, inputs: Inputs) -> Any:
        which = pair(inputs)
        if which not in self._targets:
            self._targets[which] = self._make_targets(self._network, compiling.given(self._given[which]))
        return self._targets[which]

    @staticmethod
    def _form(tree: Any, sharding: NamedSharding, *size: int) -> Any:
        return jax.tree.map(lambda it: jax.ShapeDtypeStruct((*size, *it.shape), it.dtype, sharding=sharding), tree)


def pair(inputs: Inputs) -> tuple[int, tuple[int, ...]]:
    """What tells the pictures of members apart: which arrays they are."""
    return id(inputs.content), tuple(map(id, inputs.styles))


def fitted(members: Members, numbers: Sequence[int], inputs: Inputs, *, group_size: int | None, tell: Listener) -> int:
    """How many members at a time fit: a multiple of the devices.

    Args:
        members: of the sweep.
        numbers: of those that this process computes.
        inputs: of any of them.
        group_size: how many; None where the memory decides.
        tell: told how many they are.

    Raises:
        UserError: not even one fits.
    """
    count, spread = len(numbers), members.devices
    if group_size is not None and group_size < 1:
        raise UserError(f"group-size must be at least 1, not {group_size}")
    size = _multiple(min(group_size or count, count), spread)
    compiled = members.compile(size)
    free = devices.free_memory()
    if group_size is None and free is not None and members.needed_memory(compiled) > _MARGIN * free:
        one, two = (members.needed_memory(members.compile(it * spread)) for it in (1, 2))
        compiling.check_memory(one, inputs)
        most = spread * (1 + int(max(_MARGIN * free - one, 0) / max(two - one, 1)))
        size = _multiple(math.ceil(count / math.ceil(count / most)), spread)
        members.compile(size)
    on = f"{spread} devices" if spread > 1 else "one device"
    tell.notice(f"{count} members, {min(size, count)} at a time, on {on}")
    return size


def _multiple(number: int, of: int) -> int:
    return math.ceil(number / of) * of


@functools.partial(jax.jit, static_argnames=("method", "varying", "mesh"), donate_argnames="state")
def run_chunks(
    state: State, problem: Problem, steps: int | Int[Array, ""], *, method: Method, varying: frozenset[str], mesh: Mesh
) -> tuple[State, dict[str, Float[Array, "n chunk"]]]:
    """``run_chunk`` of many runs at a time, that share the method and the network.

    Args:
        state: stacked along a leading axis, whose length the mesh's divides; donated.
        problem: the weights stacked, and the targets of ``varying``; the rest is shared, and there once.
        steps: of each.
        method: static.
        varying: the terms whose targets differ.
        mesh: of one axis, "members", over which they are spread; each device goes on by itself.

    Returns:
        As of ``run_chunk``, stacked.
    """

    def problem_of(stacked: Any, shared: Any) -> Any:
        targets = {name: stacked if name in varying else shared for name in problem.targets}
        return Problem(shared, targets, stacked, shared)

    def members(state: State, problem: Problem, steps: Any) -> tuple[State, dict[str, Array]]:
        one = functools.partial(chunk, method=method)
        return jax.vmap(one, in_axes=(0, problem_of(0, None), None))(state, problem, steps)

    spread, whole = PartitionSpec("members"), PartitionSpec()
    specs = (spread, problem_of(spread, whole), whole)
    return jax.shard_map(members, mesh=mesh, in_specs=specs, out_specs=spread, check_vma=False)(state, problem, steps)
