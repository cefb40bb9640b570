"""Resolution of a run: a config and its pictures -> the run with every open choice made, and its record."""

import dataclasses
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax

from nstjax import divergence, optimisers
from nstjax.callbacks import Listener
from nstjax.errors import UserError
from nstjax.experiment import record
from nstjax.experiment.arrays import describe_inputs
from nstjax.experiment.choice import SELF_TAUGHT
from nstjax.experiment.config import Config
from nstjax.experiment.experiment import Experiment
from nstjax.experiment.inputs import Inputs, resize_to_each_size
from nstjax.experiment.notices import warn_about_areas
from nstjax.experiment.record import RunRecord
from nstjax.experiment.sizes import share_steps
from nstjax.experiment.terms import make_objective
from nstjax.experiment.tiles import choose_tiles
from nstjax.network import selftaught
from nstjax.network.architecture import VGG19, find_deepest_step
from nstjax.network.load import build
from nstjax.network.vgg import VGG
from nstjax.network.weights import Choice, NoWeights, Weights, choose, load_sources
from nstjax.objective import Objective
from nstjax.optimise import Method
from nstjax.parameterisation import Fourier, LaplacianPyramid, Parameterisation, Pixels
from nstjax.system import devices
from nstjax.system.versions import read_version
from nstjax.types import Term

_PACKAGES = ("nstjax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "pillow")

_WINOGRAD_REPAYS_FROM = 50 * 256**2
"""Steps times pixels from which Winograd's filtering makes up for its ten seconds of additional compilation."""


@dataclass(frozen=True, eq=False)
class Resolved:
    """A run with nothing left to choose.

    Args:
        config: settings without open choices.
        method: objective, optimiser and parameterisation.
        network: network with its weights.
        choice: the network's weights and the reason for choosing them.
        record: all of this as plain data, for ``config.json``.
    """

    config: Config
    method: Method
    network: VGG
    choice: Choice
    record: RunRecord

    @property
    def weights(self) -> Weights:
        """Weights of the network."""
        return self.choice.weights


def resolve(experiment: Experiment, choice: Choice | None, inputs: Inputs, listener: Listener) -> Resolved:
    """Make every choice that the settings leave open.

    Args:
        experiment: the terms to minimise, and the settings, both for the flavour of the weights.
        choice: the weights; None for a network that is learnt here. ``choice.settle`` returns both.
        inputs: prepared pictures.
        listener: receives warnings, and the progress of learning a network.

    Raises:
        UserError: the terms, the settings and the weights do not fit each other.
    """
    config = experiment.config
    objective = make_objective(experiment, config)
    choice = choice or _learn(config, inputs, objective, listener)
    weights = choice.weights
    try:
        weights.require(objective.layers)
    except UserError as error:
        advice = "name all layers of the terms in the experiment's layers, and weights that have them are looked for"
        raise UserError(f"{weights.reference}: {error}; {advice}") from error
    levels = resize_to_each_size(inputs, config)
    warn_about_areas(objective, levels, listener)
    config = _settle_sizes(config, levels, listener)
    config = _settle_convolution(config, inputs, listener)
    if config.rematerialise and jax.default_backend() == "cpu":
        listener.warning("--rematerialise saves no memory on a CPU and costs time")
    network = _build_network(config, weights, objective)
    config = dataclasses.replace(
        choose_tiles(config, objective, network, levels[-1], listener),
        weights=weights.reference or SELF_TAUGHT,
        pooling=network.pooling,
        padding=network.padding,
        horizon=config.horizon or max(config.total_steps, 1),
        log_every=config.log_every or max(config.total_steps // 20, 1),
    )
    method = _make_method(make_objective(experiment, config), config, inputs)
    return Resolved(config, method, network, choice, _make_record(experiment, config, inputs, choice))


def make_stage_run(run: Resolved, inputs: Inputs, stage: int) -> Resolved:
    """Return the run at one of its stages, with pictures of its size and with the terms that take part.

    Args:
        run: the run, with the terms of all its stages.
        inputs: its pictures at the size of the stage.
        stage: index of the stage. After the sizes there may be one more, with weights of its own.
    """
    height, width, _ = inputs.content.shape
    parameterisation = _make_parameterisation(run.config, height, width)
    is_finish = stage == len(run.config.every_size)
    config = dataclasses.replace(run.config, loss_weights=run.config.finish_weights) if is_finish else run.config
    objective = run.method.objective.select(config.loss_weights)
    method = dataclasses.replace(run.method, parameterisation=parameterisation, objective=objective)
    return dataclasses.replace(run, config=config, method=method)


def vary_run(run: Resolved, experiment: Experiment, inputs: Inputs, settings: Mapping[str, Any]) -> Resolved:
    """Return the run with other settings of ``plan.SETTINGS``, loss weights, or pictures of the same shapes."""
    config = run.config.replace(**settings)
    return dataclasses.replace(run, config=config, record=_make_record(experiment, config, inputs, run.choice))


def restore(run: RunRecord, experiment: Experiment, inputs: Inputs, weights: Path, listener: Listener) -> Resolved:
    """Return the run that a record describes.

    Args:
        run: the record.
        experiment: the terms to minimise.
        inputs: prepared pictures.
        weights: file in the run's folder for weights that no other file holds.
        listener: receives a warning if the device or the packages are not those that the run began with.

    Raises:
        UserError: the weights are missing or differ from the recorded ones.
    """
    config = record.parse_config(run)
    choice = _find_weights(run, config, weights, listener)
    for kind, old, new in (
        ("device", run["device"], dataclasses.asdict(devices.current_device())),
        ("versions", run["versions"], _package_versions()),
    ):
        if changes := [f"{name} {old[name]} is now {new.get(name)}" for name in old if old[name] != new.get(name)]:
            listener.warning(f"the {kind} changed since the run began ({', '.join(changes)}): the last bits may differ")
    objective = make_objective(experiment, config)
    network = _build_network(config, choice.weights, objective)
    return Resolved(config, _make_method(objective, config, inputs), network, choice, run)


def _find_weights(run: RunRecord, config: Config, stored: Path, listener: Listener) -> Choice:
    expected = run["weights"]
    path = str(stored) if config.weights == SELF_TAUGHT else config.weights
    # A file may have moved, or the run may be on another machine: any file with the recorded digest serves.
    source = path if path == str(stored) or path in load_sources() or Path(path).exists() else "auto"
    advice = f"put that file at {path}" + ("" if path == str(stored) else ", or name it in $NSTJAX_WEIGHTS")
    layers = [expected["deepest"]]
    try:
        weights = choose(source, layers=layers, on_notice=listener.notice, progress=listener.downloading).weights
    except NoWeights as reason:
        raise UserError(f"the weights that the run began with are not at {path} ({reason}): {advice}") from None
    if weights.sha256 != expected["sha256"]:
        original = f"{expected['source']}, sha256 of the content {expected['sha256'][:12]}…"
        raise UserError(f"{weights.reference} holds other weights than the run began with ({original}): {advice}")
    return Choice(weights, expected.get("reason", ""))


def _build_network(config: Config, weights: Weights, objective: Objective) -> VGG:
    # A function that makes a target may ask for any layer.
    asks_for_others = any(isinstance(term, Term) and callable(term.target) for term in objective.terms)
    return build(
        weights,
        layers=None if asks_for_others else objective.layers,
        pooling=config.pooling,
        padding=config.padding,
        backend=config.convolution,
        precision=config.precision,
        dtype=jnp.dtype(config.dtype),
        rematerialise=config.rematerialise,
    )


def _settle_convolution(config: Config, inputs: Inputs, listener: Listener) -> Config:
    """Return the settings with the convolution for a run, and with its dtype.

    Winograd's filtering is for CPUs, and for runs that repay its compilation. A CPU computes in float32 what would not
    be faster in bfloat16, unless a direct convolution was asked for.
    """
    height, width, _ = inputs.content.shape
    on_cpu, convolution = jax.default_backend() == "cpu", config.convolution
    if convolution == "auto":
        repays = on_cpu and config.total_steps * height * width >= _WINOGRAD_REPAYS_FROM
        convolution = "winograd" if repays else "direct"
    settled = dataclasses.replace(config, convolution=convolution)
    if not on_cpu or config.dtype == "float32" or config.convolution == "direct":
        return settled
    if convolution == "winograd" and devices.multiplies_bfloat16():
        return settled
    short = "bfloat16 is not faster in so short a run"
    reason = short if convolution == "direct" else "this processor has no products of bfloat16"
    listener.notice(f"the network computes in float32: {reason}")
    return dataclasses.replace(settled, dtype="float32")


def _settle_sizes(config: Config, levels: list[Inputs], listener: Listener) -> Config:
    """Return the settings with every size and its steps, but those that a small content picture does not reach."""
    shapes = [level.content.shape[:2] for level in levels]
    different = [k for k, shape in enumerate(shapes) if k == 0 or shape != shapes[k - 1]]
    if len(different) < len(shapes):
        height, width = shapes[-1]
        listener.warning(
            f"the content picture has {width}x{height} pixels: only {len(different)} of {len(shapes)} sizes differ, "
            "and the others are left out; use --enlarge to reach them"
        )
    kept = [*different, *range(len(levels), config.count_stages())]
    if isinstance(config.steps, int):
        steps = share_steps(config.steps, len(kept))
    else:
        steps = tuple(config.steps_by_stage[k] for k in kept)
    sizes = tuple(size for k in different if (size := config.every_size[k]) is not None)
    return dataclasses.replace(config, sizes=sizes, steps=steps)


def _make_method(objective: Objective, config: Config, inputs: Inputs) -> Method:
    height, width, _ = inputs.content.shape
    return Method(
        objective,
        _make_optimiser(config),
        _make_parameterisation(config, height, width),
        clamp=config.clamp,
        keep=config.keep,
        average_decay=config.average_decay,
        diverged=divergence.RATIO_IF_JUMPING if config.takes_fixed_steps else divergence.RATIO,
    )


def _make_optimiser(config: Config) -> optax.GradientTransformation:
    schedule = _make_schedule(config)
    match config.optimiser:
        case "adam":
            rates = {"beta1": config.beta1, "beta2": config.beta2}
            epsilon = {"epsilon": config.epsilon, "early_epsilon": config.early_epsilon}
            return optimisers.adam(**rates, **epsilon, schedule=schedule)
        case "rmsprop":
            rates = {"decay": config.beta2, "momentum": config.momentum}
            return optimisers.rmsprop(**rates, epsilon=config.epsilon, schedule=schedule)
        case "sgd":
            return optimisers.sgd(momentum=config.momentum, schedule=schedule)
        case _ if config.line_search:
            return optimisers.lbfgs(memory=config.memory, line_search_steps=config.line_search_steps)
        case _:
            return optimisers.fixed_step_lbfgs(memory=config.memory, first_step=config.first_step)


def _make_schedule(config: Config) -> optimisers.Cosine | optimisers.Exponential | None:
    if config.schedule == "constant":
        return None
    if config.schedule == "exponential":
        return optimisers.Exponential(config.schedule_rate, config.schedule_steps)
    assert config.horizon is not None
    return optimisers.Cosine(config.horizon, config.schedule_end)


def _make_parameterisation(config: Config, height: int, width: int) -> Parameterisation:
    match config.parameterisation:
        case "fourier":
            return Fourier(height, width)
        case "laplacian":
            return LaplacianPyramid(height, width)
        case _:
            return Pixels()


def _learn(config: Config, inputs: Inputs, objective: Objective, listener: Listener) -> Choice:
    """Learn a network's weights from the content and the styles."""
    listener.notice("learning the network's filters from the two pictures")
    last = VGG19.convolutions_to(find_deepest_step(objective.layers) or VGG19.convolutions[0])[-1]
    pictures = inputs.content, inputs.styles
    weights = selftaught.learn(*pictures, seed=config.seed, deepest=last, progress=listener.learning)
    return Choice(weights, "asked for by name" if config.weights == SELF_TAUGHT else "no trained weights were at hand")


def _make_record(experiment: Experiment, config: Config, inputs: Inputs, choice: Choice) -> RunRecord:
    weights = choice.weights
    return record.seal(
        {
            "experiment": experiment.manifest,
            "config": record.to_plain_data(config),
            "pictures": {"names": [*inputs.names], **describe_inputs(inputs)},
            "weights": {
                "network": weights.architecture.name,
                "flavour": weights.flavour.name,
                "source": weights.source,
                "reason": choice.reason,
                "sha256": weights.sha256,
                "deepest": weights.deepest,
            },
            "device": dataclasses.asdict(devices.current_device()),
            "versions": _package_versions(),
        }
    )


def _package_versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: read_version(name) for name in _PACKAGES}}
