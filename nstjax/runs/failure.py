"""The line that says how the loss of a run has diverged."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from nstjax import divergence
from nstjax.callbacks import TIMES, LogLine
from nstjax.errors import Diverged
from nstjax.optimise import Method, Problem, State, compute_loss
from nstjax.runs.stages import Stage
from nstjax.storage.run_folder import RunFolder
from nstjax.types import Scalar


def raise_if_diverged(state: State, log: list[LogLine], folder: RunFolder | None, *, stage: Stage | None) -> None:
    """Raise if the loss of a run has diverged.

    Args:
        state: the last state.
        log: the logged lines.
        folder: the folder of the run, if it has one.
        stage: the stage of the state, from which a term without a finite gradient is found; None leaves it unnamed.

    Raises:
        Diverged: it has; the message says at which step, how, and what may help.
    """
    if not state.failed:
        return
    step, last, lowest = int(state.step), log[-1], float(state.lowest)
    values = {name: value for name, value in last.items() if name not in TIMES}
    ratio = stage.method.diverged if stage else divergence.RATIO
    if ratio * lowest < last["total"] < math.inf:
        problem = f"the loss at step {step} is more than {ratio:g} times its lowest, {lowest:g}"
    else:
        problem = f"{_name_fault(state, values, stage)} is not finite at step {step}"
    losses = ", ".join(f"{name} {value:g}" for name, value in values.items())
    remedy = "try a lower learning rate or lower weights" if step else "the start itself fails: check the terms"
    place = "at that step" if state.previous is None else "before it"
    picture = f"; the picture {place} is {folder.output}" if folder else ""
    raise Diverged(f"{problem} ({losses}): {remedy}{picture}")


def _name_fault(state: State, values: LogLine, stage: Stage | None) -> str:
    infinite = [name for name, value in values.items() if not math.isfinite(value)]
    if terms := [name for name in infinite if name != "total"]:
        return f"the term {' and '.join(map(repr, terms))}"
    if infinite:
        return "the total"
    terms = [] if stage is None else _find_faulty_terms(state, stage.compile().complete(state), stage.method)
    named = " and ".join(map(repr, terms))
    return f"the gradient of the term {named}" if terms else "the gradient of the loss"


def _find_faulty_terms(state: State, problem: Problem, method: Method) -> list[str]:
    """Return the names of the terms whose gradient is not finite. Each is compiled, so this is for failures only."""

    def has_gradient(name: str) -> bool:
        def evaluate(parameters: PyTree) -> Scalar:
            return compute_loss(parameters, state, problem, method)[1][name]

        gradient = jax.jit(jax.grad(evaluate))(state.parameters)
        return all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(gradient))

    return [name for name in method.objective.names if not has_gradient(name)]
