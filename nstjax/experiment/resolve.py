"""Everything that is chosen automatically, chosen once: a config and its pictures -> what is run, and its record."""

import dataclasses
import itertools
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax

from nstjax import optimisers
from nstjax.callbacks import Listener
from nstjax.errors import UserError
from nstjax.experiment import record
from nstjax.experiment.config import Config
from nstjax.experiment.experiment import Experiment
from nstjax.experiment.inputs import Inputs, at_each_size, restarted
from nstjax.experiment.record import RunRecord
from nstjax.network import selftaught
from nstjax.network.architecture import VGG19, deepest
from nstjax.network.load import build
from nstjax.network.vgg import VGG
from nstjax.network.weights import Choice, NoWeights, Weights, choose, sources
from nstjax.objective import Objective
from nstjax.optimise import Method
from nstjax.parameterisation import Fourier, LaplacianPyramid, Parameterisation, Pixels
from nstjax.shaping import normalised_gradient
from nstjax.system import devices

_PACKAGES = ("nstjax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "pillow")

SELF_TAUGHT = "self-taught"

_REPAYS = 50 * 256**2
"""Steps times pixels from which on Winograd's filtering repays the ten seconds that it takes longer to compile."""


@dataclass(frozen=True, eq=False)
class Resolved:
    """A run with nothing left open.

    Args:
        config: with no setting left to choose.
        method: the objective, the optimiser, the parameterisation.
        inputs: the pictures, begun from as its first size asks.
        network: with its weights.
        choice: of the network's weights.
        record: all of it as plain data, for ``config.json``.
    """

    config: Config
    method: Method
    inputs: Inputs
    network: VGG
    choice: Choice
    record: RunRecord

    @property
    def weights(self) -> Weights:
        """The network's."""
        return self.choice.weights


def resolve(experiment: Experiment, inputs: Inputs, listener: Listener) -> Resolved:
    """Decide everything that the settings leave open.

    Args:
        experiment: whose terms are minimised, with its settings as changed by the user.
        inputs: the prepared pictures.
        listener: told of warnings, of a download's and of a self-taught network's progress.

    Raises:
        UserError: the terms and the settings do not fit each other, or there are no such weights.
    """
    choice = _choose_weights(experiment, inputs, listener)
    weights = choice.weights
    config = experiment.config_for(weights.flavour.name)
    # The start was made before it was known which weights there are.
    if config.every_size != experiment.config.every_size:
        inputs = restarted(inputs, config)
    config = _reached(config, inputs, listener)
    config = dataclasses.replace(config, convolution=_convolution(config, inputs))
    if config.rematerialise and jax.default_backend() == "cpu":
        listener.warning("--rematerialise saves no memory on a CPU, and takes time")
    network = _network(config, weights)
    config = dataclasses.replace(
        config,
        weights=weights.reference or SELF_TAUGHT,
        pooling=network.pooling,
        padding=network.padding,
        horizon=config.horizon or max(config.steps, 1),
        log_every=config.log_every or max(config.steps // 20, 1),
    )
    if len(config.every_size) > 1:
        # Settled, so that a run can be extended: what comes on top is made at the last size.
        ends = (0, *config.size_ends)
        config = dataclasses.replace(config, size_steps=tuple(b - a for a, b in itertools.pairwise(ends)))
    method = _method(experiment, config, inputs)
    return Resolved(config, method, inputs, network, choice, _record(experiment, config, inputs, choice))


def at_size(run: Resolved, inputs: Inputs) -> Resolved:
    """The same run with pictures of another size."""
    height, width, _ = inputs.content.shape
    parameterisation = _parameterisation(run.config, height, width)
    method = dataclasses.replace(run.method, parameterisation=parameterisation)
    return dataclasses.replace(run, method=method, inputs=inputs)


def varied(run: Resolved, experiment: Experiment, inputs: Inputs, settings: Mapping[str, Any]) -> Resolved:
    """The same run with other weights of its terms, another learning rate or seed, other pictures of the same shape."""
    config = run.config.replace(**settings)
    resolved = dataclasses.replace(run, config=config, inputs=inputs)
    return dataclasses.replace(resolved, record=_record(experiment, config, inputs, run.choice))


def restore(run: RunRecord, experiment: Experiment, inputs: Inputs, own: Path, listener: Listener) -> Resolved:
    """What a record says, and nothing else.

    Args:
        run: the record.
        experiment: whose terms are minimised.
        inputs: the prepared pictures.
        own: where the run keeps weights that no other file holds.
        listener: told where this machine or its packages are not those that the run began with.

    Raises:
        UserError: the weights are not to be had, or are others.
    """
    config = record.config_of(run)
    choice = _recorded_weights(run, config, own, listener)
    for what, was, now in (
        ("device", run["device"], dataclasses.asdict(devices.current())),
        ("versions", run["versions"], _versions()),
    ):
        if changed := [f"{name} {was.get(name)} is now {now.get(name)}" for name in was if was[name] != now.get(name)]:
            listener.warning(f"another {what} than the run began with ({', '.join(changed)}): the last bits may differ")
    network = _network(config, choice.weights)
    return Resolved(config, _method(experiment, config, inputs), inputs, network, choice, run)


def _recorded_weights(run: RunRecord, config: Config, own: Path, listener: Listener) -> Choice:
    wanted = run["weights"]
    path = str(own) if config.weights == SELF_TAUGHT else config.weights
    # A file outside may have moved, or the run may be on another machine: the digest tells whether another will do.
    source = path if path == str(own) or path in sources() or Path(path).exists() else "auto"
    mend = f"put that file at {path}" + ("" if path == str(own) else ", or name it in $NSTJAX_WEIGHTS")
    layers = [wanted["deepest"]]
    try:
        weights = choose(source, layers=layers, on_notice=listener.notice, progress=listener.fetching).weights
    except NoWeights as reason:
        raise UserError(f"the weights that the run began with are not at {path} ({reason}): {mend}") from None
    if weights.sha256 != wanted["sha256"]:
        raise UserError(
            f"{weights.reference} holds other weights than the run began with ({wanted['source']}, sha256 of the "
            f"content {wanted['sha256'][:12]}…): {mend}"
        )
    return Choice(weights, wanted.get("reason", ""))


def _network(config: Config, weights: Weights) -> VGG:
    return build(
        weights,
        pooling=config.pooling,
        padding=config.padding,
        backend=config.convolution,
        precision=config.precision,
        dtype=jnp.dtype(config.dtype),
        rematerialise=config.rematerialise,
    )


def _convolution(config: Config, inputs: Inputs) -> str:
    """Which convolution suits a run: Winograd's filtering where it can be had, and repays its compilation."""
    if config.convolution != "auto":
        return config.convolution
    height, width, _ = inputs.content.shape
    possible = jax.default_backend() == "cpu" and config.dtype == "float32" and not config.shard_picture
    return "winograd" if possible and config.steps * height * width >= _REPAYS else "direct"


def _reached(config: Config, inputs: Inputs, listener: Listener) -> Config:
    """The settings without the sizes that add nothing, since the content picture is no larger."""
    shapes = [it.content.shape[:2] for it in at_each_size(inputs, config)]
    different = [k for k, shape in enumerate(shapes) if k == 0 or shape != shapes[k - 1]]
    if len(different) == len(shapes):
        return config
    height, width = shapes[-1]
    listener.warning(
        f"the content picture has {width}x{height} pixels: of {len(shapes)} sizes {len(different)} differ, and the "
        "others are left out; --enlarge goes on to them"
    )
    ends = (0, *config.size_ends)
    each = tuple(ends[k + 1] - ends[k] for k in different) if config.size_steps else ()
    sizes = tuple(size for k in different if (size := config.every_size[k]) is not None)
    return dataclasses.replace(config, sizes=sizes, smallest_size=None, size_steps=each)


def _method(experiment: Experiment, config: Config, inputs: Inputs) -> Method:
    height, width, _ = inputs.content.shape
    return Method(
        _objective(experiment, config),
        _optimiser(config),
        _parameterisation(config, height, width),
        clamp=config.clamp,
        keep=config.keep,
        average_decay=config.average_decay,
    )


def _optimiser(config: Config) -> optax.GradientTransformation:
    schedule = _schedule(config)
    match config.optimiser:
        case "adam":
            rates = {"beta1": config.beta1, "beta2": config.beta2}
            return optimisers.adam(**rates, epsilon=config.epsilon, schedule=schedule)
        case "rmsprop":
            rates = {"decay": config.beta2, "momentum": config.momentum}
            return optimisers.rmsprop(**rates, epsilon=config.epsilon, schedule=schedule)
        case "sgd":
            return optimisers.sgd(momentum=config.momentum, schedule=schedule)
        case _:
            return optimisers.lbfgs(memory=config.memory, line_search_steps=config.line_search_steps)


def _objective(experiment: Experiment, config: Config) -> Objective:
    """The experiment's terms, each with a weight."""
    with experiment.blamed():
        objective = Objective(tuple(experiment.terms(config)))
    if missing := [name for name in objective.names if name not in config.loss_weights]:
        raise UserError(f"term {missing[0]!r} has no weight: give it one in the experiment's loss_weights")
    if unknown := [name for name in config.loss_weights if name not in objective.names]:
        raise UserError(f"no term {unknown[0]!r} to weight: the experiment has {', '.join(objective.names)}")
    return objective.shaped(normalised_gradient) if config.normalise_gradients else objective


def _schedule(config: Config) -> optimisers.Cosine | optimisers.Exponential | None:
    if config.schedule == "constant":
        return None
    if config.schedule == "exponential":
        return optimisers.Exponential(config.schedule_rate, config.schedule_steps)
    assert config.horizon is not None
    return optimisers.Cosine(config.horizon, config.schedule_end)


def _parameterisation(config: Config, height: int, width: int) -> Parameterisation:
    match config.parameterisation:
        case "fourier":
            return Fourier(height, width)
        case "laplacian":
            return LaplacianPyramid(height, width)
        case _:
            return Pixels()


def _choose_weights(experiment: Experiment, inputs: Inputs, listener: Listener) -> Choice:
    """Choose the weights that the settings name, which must have the objective's layers, or learn some."""
    config = experiment.config
    layers = _objective(experiment, config).layers
    reason = "asked for by name"
    if config.weights != SELF_TAUGHT:
        try:
            return choose(config.weights, layers=layers, on_notice=listener.notice, progress=listener.fetching)
        except NoWeights as error:
            listener.warning(f"{error}; using a network learnt from the two pictures instead")
            reason = "no trained weights were at hand"
    config = experiment.config_for(SELF_TAUGHT)  # a mistake there is to be found before they are learnt
    listener.notice("learning the network's filters from the two pictures")
    last = VGG19.convolutions_to(deepest(layers) or VGG19.convolutions[0])[-1]
    weights = selftaught.learn(
        inputs.content, inputs.styles, seed=config.seed, deepest=last, progress=listener.learning
    )
    return Choice(weights, reason)


def _record(experiment: Experiment, config: Config, inputs: Inputs, choice: Choice) -> RunRecord:
    weights = choice.weights
    return record.sealed(
        {
            "experiment": {"name": experiment.name, "version": experiment.version, "sha256": experiment.sha256},
            "config": record.plain(config),
            "pictures": {"names": [*inputs.names], **inputs.record()},
            "weights": {
                "network": weights.architecture.name,
                "flavour": weights.flavour.name,
                "source": weights.source,
                "reason": choice.reason,
                "sha256": weights.sha256,
                "deepest": weights.deepest,
            },
            "device": dataclasses.asdict(devices.current()),
            "versions": _versions(),
        }
    )


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in _PACKAGES}}
