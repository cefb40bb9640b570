"""The optimisation: a state, and a chunk of steps as one compiled program.

    problem = Problem(network, targets, loss_weights)
    method = Method(Objective(terms), optimisers.adam())
    state = init(method, picture, learning_rate=0.02, key=jax.random.key(0))
    state, metrics = run_chunk(state, problem, 100, method=method)

The compiled program depends on the method alone. Everything else is traced: loss weights, targets, learning rate and
the number of steps. One program therefore runs chunks of every length, and the way a run is cut into chunks cannot
change its result by a bit, as it could if each length had another program.
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

from nstjax import divergence
from nstjax.divergence import has_diverged
from nstjax.errors import UserError
from nstjax.objective import Objective
from nstjax.parameterisation import PIXELS, Parameterisation, Pixels
from nstjax.types import Guides, Key, Network, Picture, Scalar, Targets

CHUNK = 256
"""Maximum number of steps in one call of ``run_chunk``, and the length of its metrics."""


@functools.partial(jax.tree_util.register_dataclass, data_fields=["total", "weight"], meta_fields=[])
@dataclass(frozen=True)
class Average:
    """A running exponential average of parameters, ``total / weight``; the division corrects the bias of the start.

    Args:
        total: weighted sum of the parameters so far.
        weight: sum of the weights so far.

    Reference: Crowson, style-transfer-pytorch; Kingma and Ba 2015, section 3, for the correction.
    """

    total: PyTree
    weight: Scalar

    @classmethod
    def init(cls, parameters: PyTree, decay: float) -> "Average":
        """Return the average of these parameters alone."""
        return cls(jax.tree.map(lambda leaf: (1 - decay) * leaf, parameters), jnp.float32(1 - decay))

    def update(self, parameters: PyTree, decay: float) -> "Average":
        """Return the average with the parameters of one more step."""
        total = jax.tree.map(lambda a, b: decay * a + (1 - decay) * b, self.total, parameters)
        return Average(total, decay * self.weight + (1 - decay))

    @property
    def value(self) -> PyTree:
        """The averaged parameters."""
        return jax.tree.map(lambda leaf: leaf / self.weight, self.total)


@dataclass(frozen=True)
class Method:
    """The static part of an optimisation, on which the compiled program depends; equal methods share one program.

    Args:
        objective: the terms of the loss.
        optimiser: an optax transformation with the learning rate in its state, such as those of ``optimisers``.
        parameterisation: maps parameters to the picture and back.
        clamp: if True, clip the picture to [0, 1] after each step; for ``Pixels`` only, and without a line search.
        keep: which picture is the result: "last"; "best", the one with the lowest loss; "after-best", the one after
            the step from the best; or "average", an average of all in which late ones weigh more.
        average_decay: ratio of the weight of a step in the average to that of the next step, in [0, 1).
        diverged: ratio of the loss to its lowest value so far above which the run counts as diverged.

    Raises:
        UserError: ``clamp`` with another parameterisation than ``Pixels``.
    """

    objective: Objective
    optimiser: optax.GradientTransformation
    parameterisation: Parameterisation = PIXELS
    clamp: bool = False
    keep: Literal["last", "best", "after-best", "average"] = "last"
    average_decay: float = 0.99
    diverged: float = divergence.RATIO

    def __post_init__(self):
        if self.clamp and not isinstance(self.parameterisation, Pixels):
            raise UserError(
                f"clamping needs pixels, not {type(self.parameterisation).__name__}: use a value_range term instead"
            )


_PROBLEM = ["network", "targets", "loss_weights", "guides", "scale"]


@functools.partial(jax.tree_util.register_dataclass, data_fields=_PROBLEM, meta_fields=[])
@dataclass(frozen=True)
class Problem:
    """The inputs of a run that stay the same at every step; all of them are traced.

    Args:
        network: the network whose features the terms see; None if no term sees any.
        targets: {term: its target}, from ``Objective.targets`` and ``Objective.complete_targets``.
        loss_weights: {term: its weight in the loss}.
        guides: region guides of the picture, from ``Objective.guides``; None without regions.
        scale: size of an ordinary loss, from ``divergence.measure_scale``. A run that may start next to its minimum
            needs it, because the lowest loss is no measure there.
    """

    network: Network | None
    targets: Targets
    loss_weights: Mapping[str, float | Scalar]
    guides: Guides | None = None
    scale: float | Scalar = 0.0


_STATE = ["parameters", "previous", "optimiser", "key", "step", "failed", "lowest", "kept", "start"]


@functools.partial(jax.tree_util.register_dataclass, data_fields=_STATE, meta_fields=[])
@dataclass(frozen=True)
class State:
    """The complete state of a run, as stored in checkpoints.

    Args:
        parameters: the optimised parameters; ``method.parameterisation.decode`` turns them into the picture.
        previous: the parameters one step before, whose loss has not diverged; the result of a run that diverges. None
            if the picture is computed by tiles, because it is too large for a second copy.
        optimiser: the state of the optax optimiser, including hyper-parameters.
        key: random key of the run; step i uses ``fold_in(key, i)``.
        step: number of steps made so far.
        failed: True if the loss at ``step`` has diverged; see ``divergence.has_diverged``. No further step is made
            then.
        lowest: lowest loss of steps 0 to ``step`` - 1.
        kept: the parameters that ``method.keep`` asks for, among those steps; an ``Average`` if it asks for the
            average, None if it asks for the last.
        start: the picture with which the present size began, if a target depends on it; else None.
    """

    parameters: PyTree
    previous: PyTree | None
    optimiser: PyTree
    key: Key
    step: Int[Array, ""]
    failed: Bool[Array, ""]
    lowest: Scalar
    kept: PyTree | None
    start: Picture | None


def init(method: Method, picture: Picture, *, learning_rate: float | Scalar, key: Key) -> State:
    """Return the state before step 0.

    Args:
        method: the method of the run.
        picture: [H, W, 3] in [0, 1], the picture to start from.
        learning_rate: in units of the parameters; for ``Pixels``, of the [0, 1] scale.
        key: random key of the run.

    Raises:
        UserError: the optimiser has no learning rate in its state (see ``optimisers``).
    """
    parameters = method.parameterisation.encode(jnp.array(picture, jnp.float32))
    try:
        optimiser = optax.tree.set(method.optimiser.init(parameters), learning_rate=jnp.float32(learning_rate))
    except KeyError:
        raise UserError(
            "the optimiser's state has no learning_rate: use one of nstjax.optimisers, or optax.inject_hyperparams"
        ) from None
    return State(
        parameters=parameters,
        # Copies: the state is donated, and no two of its leaves may share a buffer.
        previous=None if method.objective.tile is not None else jax.tree.map(jnp.copy, parameters),
        optimiser=jax.tree.map(jnp.copy, optimiser),
        key=key,
        step=jnp.int32(0),
        failed=jnp.bool_(False),
        lowest=jnp.float32(jnp.inf),
        kept=init_kept(method, parameters),
        start=init_start(method, parameters),
    )


def init_kept(method: Method, parameters: PyTree) -> PyTree | None:
    """Return the first value of ``State.kept`` for a run that starts from these parameters."""
    if method.keep == "average":
        return Average.init(parameters, method.average_decay)
    return None if method.keep == "last" else jax.tree.map(jnp.copy, parameters)


def init_start(method: Method, parameters: PyTree) -> Picture | None:
    """Return the value of ``State.start`` for a size that begins with these parameters."""
    return jnp.copy(method.parameterisation.decode(parameters)) if method.objective.needs_start else None


@functools.partial(jax.jit, static_argnames="method", donate_argnames="state")
def run_chunk(
    state: State, problem: Problem, steps: int | Int[Array, ""], *, method: Method
) -> tuple[State, dict[str, Float[Array, "chunk"]]]:
    """Run the given number of steps, or fewer if the loss diverges.

    Args:
        state: the state to continue from. Donated: it cannot be used again.
        problem: network, targets, loss weights and region guides.
        steps: number of steps, at most ``CHUNK``.
        method: the method of the run; static.

    Returns:
        (state, metrics): metrics is {"total": [CHUNK], term: [CHUNK], …}, the values *before* the update of each step.
        The terms are unweighted, the total is weighted. Entries after the last step are NaN.
    """
    return trace_chunk(state, problem, steps, method)


def trace_chunk(state: State, problem: Problem, steps: Any, method: Method) -> tuple[State, dict[str, Array]]:
    """Trace the steps of ``run_chunk``, for callers that compile them in another way, such as under ``jax.vmap``."""
    names = ("total", *method.objective.names)
    metrics = {name: jnp.full(CHUNK, jnp.nan, jnp.float32) for name in names}
    first = state.step
    end = first + jnp.minimum(steps, CHUNK)

    def unfinished(carry: tuple[State, Any]) -> Bool[Array, ""]:
        return (carry[0].step < end) & ~carry[0].failed

    def body(carry: tuple[State, Any]) -> tuple[State, Any]:
        state, metrics = carry
        next_state, values = _step(state, problem, method)
        metrics = {name: metrics[name].at[state.step - first].set(value) for name, value in values.items()}
        return next_state, metrics

    return lax.while_loop(unfinished, body, (state, metrics))


def compute_loss(parameters: PyTree, state: State, problem: Problem, method: Method) -> tuple[Scalar, dict[str, Any]]:
    """Return the loss of parameters, and {term: its value}, at the step of a state."""
    return method.objective(
        method.parameterisation.decode(parameters),
        network=problem.network,
        targets=problem.targets,
        weights=problem.loss_weights,
        key=jax.random.fold_in(state.key, state.step),
        guides=problem.guides,
    )


def _step(state: State, problem: Problem, method: Method) -> tuple[State, dict[str, Scalar]]:
    """Make one step; if its loss has diverged, return the same state marked as failed."""
    loss = functools.partial(compute_loss, state=state, problem=problem, method=method)
    (total, parts), gradient = jax.value_and_grad(loss, has_aux=True)(state.parameters)
    updates, optimiser = optax.with_extra_args_support(method.optimiser).update(
        gradient,
        state.optimiser,
        state.parameters,
        # Line searches need these.
        value=total,
        grad=gradient,
        value_fn=lambda parameters: loss(parameters)[0],
    )
    parameters = optax.apply_updates(state.parameters, updates)
    if method.clamp:
        parameters = optax.projections.projection_box(parameters, 0.0, 1.0)
    failed = has_diverged(total, gradient, lowest=state.lowest, scale=problem.scale, ratio=method.diverged)
    better = total < state.lowest
    kept = state.kept
    if isinstance(kept, Average):
        kept = kept.update(parameters, method.average_decay)
    elif kept is not None:
        candidate = state.parameters if method.keep == "best" else parameters
        kept = jax.tree.map(functools.partial(jnp.where, better), candidate, kept)
    lowest = jnp.where(better, total, state.lowest)
    next_state = State(
        parameters=parameters,
        previous=None if state.previous is None else state.parameters,
        optimiser=optimiser,
        key=state.key,
        step=state.step + 1,
        failed=jnp.bool_(False),
        lowest=lowest,
        kept=kept,
        start=state.start,
    )
    failed_state = replace(state, failed=jnp.bool_(True))
    return jax.tree.map(functools.partial(jnp.where, failed), failed_state, next_state), {"total": total, **parts}


def map_states(function: Callable[..., Array], state: State, *, method: Method) -> Float[Array, "n height width 3"]:
    """Apply a function of one state, such as ``picture``, to every state of a stack.

    Args:
        function: (state, method=method) -> [H, W, 3].
        state: n states stacked along a leading axis, or a single state, which counts as n = 1.
        method: the method of the run.
    """
    apply = functools.partial(function, method=method)
    return jax.vmap(apply)(state) if state.step.ndim else apply(state)[None]


def current_picture(state: State, *, method: Method) -> Picture:
    """Return the latest picture of a state, clipped to [0, 1]."""
    return jnp.clip(method.parameterisation.decode(state.parameters), 0, 1)


def picture(state: State, *, method: Method) -> Picture:
    """Return the result of a state, clipped to [0, 1]: the picture that ``method.keep`` asks for.

    If it asks for the last one and the loss has diverged, this is the one before it, if the state has it.
    """
    parameters = state.parameters if state.kept is None else state.kept
    if isinstance(parameters, Average):
        parameters = parameters.value
    elif state.kept is None and state.previous is not None:
        parameters = jax.tree.map(functools.partial(jnp.where, state.failed), state.previous, state.parameters)
    return jnp.clip(method.parameterisation.decode(parameters), 0, 1)
