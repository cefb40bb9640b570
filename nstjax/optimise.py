"""The optimisation: a state, and a chunk of steps as one compiled program.

    problem = Problem(network, targets, weights)
    method = Method(Objective(terms), optimisers.adam())
    state = init(method, picture, learning_rate=0.02, key=jax.random.key(0))
    state, metrics = run_chunk(state, problem, 100, method=method)

What is compiled depends on the method alone. Everything else is traced: weights, targets, learning rate, the number
of steps. One program therefore serves chunks of every length, and how a run is cut into chunks cannot change its bits,
which it can where every length is a program of its own.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PyTree

from nstjax.errors import UserError
from nstjax.objective import Network, Objective
from nstjax.parameterisation import PIXELS, Parameterisation, Pixels
from nstjax.types import Guides, Key, Picture, Scalar, Targets

CHUNK = 256
"""The most steps that one call of ``run_chunk`` makes: the length of its buffer of metrics."""

DIVERGED = 1000.0
"""A loss this many times its running minimum will not come back."""


@functools.partial(jax.tree_util.register_dataclass, data_fields=["total", "weight"], meta_fields=[])
@dataclass(frozen=True)
class Average:
    """An average under way: ``total / weight``, which is what corrects its bias to where it began.

    Reference: Crowson, style-transfer-pytorch; Kingma and Ba 2015, section 3, for the correction.
    """

    total: PyTree
    weight: Scalar

    @classmethod
    def of(cls, parameters: PyTree, decay: float) -> "Average":
        """The average that begins with these."""
        return cls(jax.tree.map(lambda it: (1 - decay) * it, parameters), jnp.float32(1 - decay))

    def followed_by(self, parameters: PyTree, decay: float) -> "Average":
        """The average with one more step."""
        total = jax.tree.map(lambda a, b: decay * a + (1 - decay) * b, self.total, parameters)
        return Average(total, decay * self.weight + (1 - decay))

    @property
    def value(self) -> PyTree:
        """The parameters."""
        return jax.tree.map(lambda it: it / self.weight, self.total)


@dataclass(frozen=True)
class Method:
    """What a compiled chunk depends on; equal methods share it.

    Args:
        objective: the terms.
        optimiser: an optax transformation with its learning rate in its state, such as those of ``optimisers``.
        parameterisation: what is optimised <-> the picture.
        clamp: whether the picture is put back into [0, 1] after each step; with ``Pixels`` only, and no line search.
        keep: which picture is the result: the "last" one; the "best", whose loss was lowest; the one "after-best",
            after the step that was made from the best; or the "average" of all, the late ones weighing more.
        average_decay: of the average's weights, from a step to the one before it, in [0, 1).

    Raises:
        UserError: clamping with another parameterisation than pixels.
    """

    objective: Objective
    optimiser: optax.GradientTransformation
    parameterisation: Parameterisation = PIXELS
    clamp: bool = False
    keep: Literal["last", "best", "after-best", "average"] = "last"
    average_decay: float = 0.99

    def __post_init__(self):
        if self.clamp and not isinstance(self.parameterisation, Pixels):
            raise UserError(
                f"clamping needs pixels, not {type(self.parameterisation).__name__}: use a value_range term"
            )


_PROBLEM = ["network", "targets", "weights", "guides"]


@functools.partial(jax.tree_util.register_dataclass, data_fields=_PROBLEM, meta_fields=[])
@dataclass(frozen=True)
class Problem:
    """What a run is given and does not change: the network, the targets, the weight of each term, region guides."""

    network: Network | None
    targets: Targets
    weights: Mapping[str, float | Scalar]
    guides: Guides | None = None


_STATE = ["parameters", "previous", "optimiser", "key", "step", "failed", "lowest", "kept"]


@functools.partial(jax.tree_util.register_dataclass, data_fields=_STATE, meta_fields=[])
@dataclass(frozen=True)
class State:
    """All that a run is: what a checkpoint holds.

    Args:
        parameters: what is optimised; ``method.parameterisation.decode`` makes the picture of it.
        previous: the same one step before, whose loss is known: what is left of a run that diverges.
        optimiser: optax's state, hyper-parameters included.
        key: of the run; step i uses ``fold_in(key, i)``.
        step: how many steps have been made.
        failed: whether the loss at ``step`` has diverged: it or its gradient is not finite, or it is more than
            ``DIVERGED`` times the lowest so far; then no further step is made.
        lowest: the lowest loss of steps 0 to ``step`` - 1.
        kept: the parameters that ``method.keep`` asks for, of those steps; of an average, an ``Average``; None where
            it is the last.
    """

    parameters: PyTree
    previous: PyTree
    optimiser: PyTree
    key: Key
    step: Int[Array, ""]
    failed: Bool[Array, ""]
    lowest: Scalar
    kept: PyTree | None


def init(method: Method, picture: Picture, *, learning_rate: float | Scalar, key: Key) -> State:
    """The state before step 0.

    Args:
        method: what the run will do.
        picture: [H, W, 3] to start from.
        learning_rate: in units of the parameters: for pixels, of the [0, 1] scale.
        key: of the run.

    Raises:
        UserError: the optimiser has no learning rate in its state (see ``optimisers``).
    """
    parameters = method.parameterisation.encode(jnp.array(picture, jnp.float32))
    try:
        optimiser = optax.tree.set(method.optimiser.init(parameters), learning_rate=jnp.float32(learning_rate))
    except KeyError:
        raise UserError(
            "the optimiser's state holds no learning_rate: take one of nstjax.optimisers, or optax.inject_hyperparams"
        ) from None
    return State(
        parameters=parameters,
        # Copies: the state is donated, and no two of its leaves may share a buffer.
        previous=jax.tree.map(jnp.copy, parameters),
        optimiser=jax.tree.map(jnp.copy, optimiser),
        key=key,
        step=jnp.int32(0),
        failed=jnp.bool_(False),
        lowest=jnp.float32(jnp.inf),
        kept=first_kept(method, parameters),
    )


def first_kept(method: Method, parameters: PyTree) -> PyTree | None:
    """What is kept beside parameters with which a run begins; see ``Method.keep``."""
    if method.keep == "average":
        return Average.of(parameters, method.average_decay)
    return None if method.keep == "last" else jax.tree.map(jnp.copy, parameters)


@functools.partial(jax.jit, static_argnames="method", donate_argnames="state")
def run_chunk(
    state: State, problem: Problem, steps: int | Int[Array, ""], *, method: Method
) -> tuple[State, dict[str, Float[Array, "chunk"]]]:
    """Make some steps; fewer where the loss diverges.

    Args:
        state: donated: it cannot be used again.
        problem: the network, the targets, the weights.
        steps: how many, at most ``CHUNK``.
        method: static.

    Returns:
        (state, metrics): metrics is {"total": [CHUNK], term: [CHUNK], …}, the values *before* each step's update and
        before the terms' weights (the total has them in); entries past the steps made are NaN.
    """
    return chunk(state, problem, steps, method)


def chunk(state: State, problem: Problem, steps: Any, method: Method) -> tuple[State, dict[str, Array]]:
    """Trace the steps of ``run_chunk``, for callers that compile them in another way, such as under ``jax.vmap``."""
    names = ("total", *method.objective.names)
    metrics = {name: jnp.full(CHUNK, jnp.nan, jnp.float32) for name in names}
    first = state.step
    end = first + jnp.minimum(steps, CHUNK)

    def unfinished(carry: tuple[State, Any]) -> Bool[Array, ""]:
        return (carry[0].step < end) & ~carry[0].failed

    def body(carry: tuple[State, Any]) -> tuple[State, Any]:
        now, metrics = carry
        following, values = _step(now, problem, method)
        metrics = {name: metrics[name].at[now.step - first].set(value) for name, value in values.items()}
        return following, metrics

    return lax.while_loop(unfinished, body, (state, metrics))


def _step(state: State, problem: Problem, method: Method) -> tuple[State, dict[str, Scalar]]:
    """One step; where its loss has diverged, the same state marked as failed."""

    def loss(parameters: PyTree) -> tuple[Scalar, dict[str, Scalar]]:
        return method.objective(
            method.parameterisation.decode(parameters),
            network=problem.network,
            targets=problem.targets,
            weights=problem.weights,
            key=jax.random.fold_in(state.key, state.step),
            guides=problem.guides,
        )

    (total, parts), gradient = jax.value_and_grad(loss, has_aux=True)(state.parameters)
    updates, optimiser = optax.with_extra_args_support(method.optimiser).update(
        gradient,
        state.optimiser,
        state.parameters,
        # For a line search.
        value=total,
        grad=gradient,
        value_fn=lambda parameters: loss(parameters)[0],
    )
    parameters = optax.apply_updates(state.parameters, updates)
    if method.clamp:
        parameters = optax.projections.projection_box(parameters, 0.0, 1.0)
    finite = jnp.isfinite(total) & jnp.all(
        jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(gradient)])
    )
    # A multiple of a loss means nothing where losses may be zero or negative.
    exploded = (state.lowest > 0) & (total > DIVERGED * state.lowest)
    better = total < state.lowest
    kept = state.kept
    if isinstance(kept, Average):
        kept = kept.followed_by(parameters, method.average_decay)
    elif kept is not None:
        candidate = state.parameters if method.keep == "best" else parameters
        kept = jax.tree.map(functools.partial(jnp.where, better), candidate, kept)
    lowest = jnp.where(better, total, state.lowest)
    following = State(
        parameters=parameters,
        previous=state.parameters,
        optimiser=optimiser,
        key=state.key,
        step=state.step + 1,
        failed=jnp.bool_(False),
        lowest=lowest,
        kept=kept,
    )
    frozen = replace(state, failed=jnp.bool_(True))
    going_on = finite & ~exploded
    return jax.tree.map(functools.partial(jnp.where, going_on), following, frozen), {"total": total, **parts}


def each(function: Callable[..., Array], state: State, *, method: Method) -> Float[Array, "n height width 3"]:
    """A function of a state, such as ``picture``, of each of the states stacked in one; of a single state, of it."""
    of_one = functools.partial(function, method=method)
    return jax.vmap(of_one)(state) if state.step.ndim else of_one(state)[None]


def current_picture(state: State, *, method: Method) -> Picture:
    """The picture of a state, clipped to [0, 1]."""
    return jnp.clip(method.parameterisation.decode(state.parameters), 0, 1)


def picture(state: State, *, method: Method) -> Picture:
    """The result of a state, clipped to [0, 1]: the picture that ``method.keep`` asks for.

    In place of the last one, where the loss has diverged, the one before it.
    """
    parameters = state.kept
    if isinstance(parameters, Average):
        parameters = parameters.value
    elif parameters is None:
        last, before = state.parameters, state.previous
        parameters = jax.tree.map(functools.partial(jnp.where, state.failed), before, last)
    return jnp.clip(method.parameterisation.decode(parameters), 0, 1)
