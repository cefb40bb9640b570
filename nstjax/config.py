"""The settings of a run: what a user may say, each in one place.

A ``Config`` is what an experiment file writes down and the command line changes by name. It is plain data: numbers and
names, no arrays and no functions, and this room imports no array library, so that a mistake is found at once.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from nstjax.architecture import layer, smallest_side
from nstjax.errors import UserError

Keep = Literal["last", "best", "after-best"]


def _setting(default: Any, help: str, *, choices: tuple[str, ...] = (), least: float | None = None) -> Any:
    metadata = {"help": help, "choices": choices, "least": least}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Config:
    """The settings of a run. Each is documented by its help; ``nstjax run --help`` prints them.

    Raises:
        UserError: a value out of its range, or a setting that another excludes.
    """

    loss_weights: Mapping[str, float] = _setting({}, "weight of each term")
    layers: Mapping[str, tuple[str, ...]] = _setting({}, "layers of each term")

    size: int | None = _setting(512, "long side of the result in pixels; 'none' keeps the content's own", least=1)
    style_size: int | None = _setting(
        None, "long side of the style picture in pixels, in place of --style-scale", least=1
    )
    style_scale: float = _setting(1.0, "long side of the style picture as a multiple of the result's", least=1e-3)
    enlarge: bool = _setting(False, "enlarge pictures that are smaller than their size")
    match_colour: bool = _setting(False, "give the content the style's colours first (mean and covariance)")

    weights: str = _setting("auto", "VGG19's weights: auto, self-taught, a name from 'nstjax weights list', or a file")
    pooling: str | None = _setting(None, "pooling, in place of the weights' own", choices=("max", "average", "l2"))
    padding: str | None = _setting(None, "padding, in place of the weights' own", choices=("zero", "edge", "reflect"))
    shard_picture: bool = _setting(False, "one picture over all devices, in strips of its height (pixels only)")
    deterministic: bool = _setting(
        False, "the same bits every time on a GPU too, at some cost; a CPU gives them anyway"
    )
    dtype: str = _setting("float32", "what the network convolves in", choices=("float32", "bfloat16"))
    convolution: str = _setting(
        "auto",
        "on a CPU: XLA's own, or Winograd's: faster, longer to compile; auto takes what suits the run",
        choices=("auto", "direct", "winograd"),
    )
    rematerialise: bool = _setting(
        False, "on accelerators: compute maps anew for the gradient, in place of keeping them; less memory, more time"
    )
    precision: str = _setting("default", "of float32 products on accelerators", choices=("default", "high", "highest"))

    init: str = _setting("content", "picture to start from: content, noise, style-statistics, or a file")
    init_noise: float = _setting(0.0, "share of white noise mixed into that picture, 0 to 1", least=0)
    parameterisation: str = _setting("pixels", "what is optimised", choices=("pixels", "fourier"))
    clamp: bool = _setting(False, "put the picture back into [0, 1] after each step (pixels only)")
    steps: int = _setting(500, "how many steps", least=0)
    learning_rate: float = _setting(0.02, "Adam's; for pixels, on the [0, 1] scale", least=0)
    beta1: float = _setting(0.9, "Adam's decay of the mean gradient", least=0)
    beta2: float = _setting(0.999, "Adam's decay of the mean squared gradient", least=0)
    epsilon: float = _setting(1e-8, "Adam's, added to the root of the mean squared gradient", least=0)
    schedule: str = _setting("constant", "of the learning rate", choices=("constant", "cosine"))
    schedule_end: float = _setting(0.0, "where the schedule ends, as a factor", least=0)
    horizon: int | None = _setting(None, "step at which the schedule ends; by default the number of steps", least=1)
    keep: Literal["last", "best", "after-best"] = _setting(
        "last", "which picture is the result", choices=("last", "best", "after-best")
    )
    seed: int = _setting(0, "of everything random", least=0)

    snapshots: tuple[int, ...] = _setting((), "steps after which to keep the picture, or 'none'")
    snapshot_every: int | None = _setting(None, "steps between further snapshots", least=1)
    log_every: int | None = _setting(None, "steps between logged ones; by default a twentieth of the run", least=1)
    checkpoint_every: int = _setting(500, "steps between checkpoints", least=1)
    checkpoint_minutes: float = _setting(5.0, "minutes after which one is written all the same", least=0)
    checkpoint_keep: int = _setting(3, "how many checkpoints to keep, the newest", least=2)
    tensorboard: bool = _setting(False, "write TensorBoard's event files too, into the run's folder")

    def __post_init__(self):
        object.__setattr__(self, "loss_weights", dict(self.loss_weights))
        object.__setattr__(self, "layers", {term: tuple(names) for term, names in self.layers.items()})
        object.__setattr__(self, "snapshots", tuple(sorted(set(self.snapshots))))
        for field in dataclasses.fields(self):
            _check(field, getattr(self, field.name))
        for name in ("beta1", "beta2"):
            if getattr(self, name) >= 1:
                raise UserError(f"{name} must be below 1, not {getattr(self, name):g}")
        if self.init_noise > 1:
            raise UserError(f"init-noise must be at most 1, not {self.init_noise:g}")
        for term, weight in self.loss_weights.items():
            if not math.isfinite(weight):
                raise UserError(f"the weight of {term!r} must be a finite number, not {weight}")
        for names in self.layers.values():
            for name in names:
                if name != "input":
                    layer(name)
        if self.snapshots and not 0 <= self.snapshots[0] <= self.snapshots[-1] <= self.steps:
            raise UserError(
                f"snapshots must lie between 0 and {self.steps}, the number of steps, not {[*self.snapshots]}"
            )
        if self.shard_picture and self.parameterisation != "pixels":
            raise UserError(f"shard-picture needs parameterisation pixels, not {self.parameterisation}")
        if self.convolution == "winograd" and (self.dtype != "float32" or self.shard_picture):
            other = "--shard-picture" if self.shard_picture else f"dtype {self.dtype}"
            raise UserError(f"convolution winograd does not go with {other}: say auto or direct")
        if self.clamp and self.parameterisation != "pixels":
            raise UserError(f"clamp needs parameterisation pixels, not {self.parameterisation}: add --no-clamp")

    def replace(self, **settings: Any) -> "Config":
        """The same settings but for some; mappings are merged into the present ones.

        Raises:
            UserError: no such setting, a term that the experiment does not have, or a bad value.
        """
        known = {field.name for field in dataclasses.fields(self)}
        for name, value in settings.items():
            if name not in known:
                raise UserError(f"no setting {name!r}: expected one of {', '.join(sorted(known))}")
            present = getattr(self, name)
            if isinstance(present, Mapping):
                for term in value:
                    if term not in present:
                        raise UserError(f"no term {term!r} in {name}: expected one of {', '.join(present) or 'none'}")
                settings[name] = {**present, **value}
        if "steps" in settings and "snapshots" not in settings:
            # A shortened run keeps those of its snapshots that it reaches.
            settings["snapshots"] = tuple(step for step in self.snapshots if step <= settings["steps"])
        return dataclasses.replace(self, **settings)

    def is_snapshot(self, step: int) -> bool:
        """Whether the picture after so many steps is kept."""
        every = self.snapshot_every
        return step in self.snapshots or (every is not None and step > 0 and step % every == 0)

    def is_logged(self, step: int) -> bool:
        """Whether the losses before the update of this step are logged; ``log_every`` must be settled."""
        assert self.log_every is not None
        return step % self.log_every == 0 or step == self.steps - 1

    @property
    def every_layer(self) -> tuple[str, ...]:
        """The layers of all terms, once each."""
        return tuple(dict.fromkeys(name for names in self.layers.values() for name in names))

    def check_picture(self, what: str, height: int, width: int) -> None:
        """That a picture of this size has a position left in every layer.

        Raises:
            UserError: it has not.
        """
        least = smallest_side(self.every_layer)
        if min(height, width) < least:
            deepest = max((n for n in self.every_layer if n != "input"), key=lambda name: layer(name).halvings)
            raise UserError(
                f"the {what} picture would be {width}x{height} pixels, too small for layer {deepest}, "
                f"which needs {least} on each side: use a larger picture or size"
            )


def _check(field: dataclasses.Field, value: Any) -> None:
    """That one setting has a value of its kind and range."""
    option = field.name.replace("_", "-")
    choices, least = field.metadata["choices"], field.metadata["least"]
    if choices and value is not None and value not in choices:
        raise UserError(f"{option} must be one of {', '.join(choices)}, not {value!r}")
    if least is None or value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UserError(f"{option} must be a finite number, not {value!r}")
    if field.type in (int, int | None) and not isinstance(value, int):
        raise UserError(f"{option} must be a whole number, not {value!r}")
    if value < least:
        raise UserError(f"{option} must be at least {least:g}, not {value:g}")
