"""The settings of a run: what a user may say, each in one place.

A ``Config`` is what an experiment file writes down and the command line changes by name. It is plain data: numbers and
names, no arrays and no functions, and this room imports no array library, so that a mistake is found at once.
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from nstjax.errors import UserError
from nstjax.network.architecture import layer, smallest_side


def _setting(default: Any, help: str, *, choices: tuple[str, ...] = (), least: float | None = None) -> Any:
    metadata = {"help": help, "choices": choices, "least": least}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


_MOST_STEPS = 2**31 - 1
_LARGEST = 3.4e38
"""Of float32."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """The settings of a run. Each is documented by its help; ``nstjax run --help`` prints them.

    Raises:
        UserError: a value out of its range, or a setting that another excludes.
    """

    loss_weights: Mapping[str, float] = _setting({}, "weight of each term")
    layers: Mapping[str, tuple[str, ...]] = _setting({}, "layers of each term")

    size: int | None = _setting(512, "long side of the result in pixels; 'none' keeps the content's own", least=1)
    size_by: str = _setting("long", "what sizes measure, 'area' its root", choices=("long", "short", "height", "area"))
    sizes: tuple[int, ...] = _setting((), "sizes from coarse to fine, one after the other, in place of --size", least=1)
    smallest_size: int | None = _setting(None, "begin coarse: sizes from --size down to this one", least=1)
    size_ratio: float = _setting(math.sqrt(2), "between those sizes", least=1.01)
    size_steps: tuple[int, ...] = _setting(
        (), "steps at each size, the last for all that follow; by default equal shares of --steps", least=0
    )
    style_size: int | None = _setting(None, "size of the style picture, in place of --style-scale", least=1)
    style_scale: float = _setting(1.0, "size of the style picture as a multiple of the result's", least=1e-3)
    style_weights: tuple[float, ...] = _setting((), "shares of the blended styles, the first's first", least=0)
    enlarge: bool = _setting(False, "enlarge pictures that are smaller than their size")

    match_colour: str = _setting(
        "none", "give this picture the other's colours first", choices=("none", "content", "style")
    )
    colour_map: str = _setting("monge", "how", choices=("monge", "cholesky", "pca", "symmetric", "histogram"))
    luminance: bool = _setting(False, "transfer the style of the luminance alone; the content's colours stay")
    keep_colours: str = _setting(
        "none", "give the result the content's colours back, in this space", choices=("none", "yiq", "lab", "oklab")
    )

    weights: str = _setting(
        "auto", "the network's weights: auto, self-taught, a name from 'nstjax weights list', or a file"
    )
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

    init: str = _setting("content", "picture to start from: content, noise, mean, style-statistics, or a file")
    init_noise: float = _setting(0.0, "share of white noise mixed into that picture, 0 to 1", least=0)
    init_deviation: float = _setting(0.0, "standard deviation of normal noise added to it", least=0)
    parameterisation: str = _setting("pixels", "what is optimised", choices=("pixels", "fourier", "laplacian"))
    clamp: bool = _setting(False, "put the picture back into [0, 1] after each step (pixels only)")
    steps: int = _setting(500, "how many steps, at all sizes together", least=0)
    optimiser: str = _setting("adam", "what moves the picture", choices=("adam", "rmsprop", "sgd", "lbfgs"))
    learning_rate: float = _setting(0.02, "for pixels, on the [0, 1] scale; L-BFGS searches its own", least=0)
    beta1: float = _setting(0.9, "Adam's decay of the mean gradient", least=0)
    beta2: float = _setting(0.999, "Adam's and RMSprop's decay of the mean squared gradient", least=0)
    epsilon: float = _setting(1e-8, "theirs, added to the root of the mean squared gradient", least=0)
    momentum: float = _setting(0.0, "RMSprop's and SGD's", least=0)
    memory: int = _setting(10, "how many steps L-BFGS looks back", least=1)
    line_search_steps: int = _setting(20, "how many lengths of a step L-BFGS tries at most", least=1)
    normalise_gradients: bool = _setting(False, "divide the gradient of each term, at each layer, by its L1 norm")
    schedule: str = _setting("constant", "of the learning rate", choices=("constant", "cosine", "exponential"))
    schedule_end: float = _setting(0.0, "where the cosine ends, as a factor", least=0)
    schedule_rate: float = _setting(0.96, "of the exponential: the factor reached every --schedule-steps", least=0)
    schedule_steps: int = _setting(100, "of the exponential", least=1)
    horizon: int | None = _setting(None, "step at which the cosine ends; by default the number of steps", least=1)
    keep: Literal["last", "best", "after-best", "average"] = _setting(
        "last", "which picture is the result; average: of late steps", choices=("last", "best", "after-best", "average")
    )
    average_decay: float = _setting(0.99, "of the average: each step before weighs so much of the next", least=0)
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
        for name in ("sizes", "size_steps", "style_weights"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for field in dataclasses.fields(self):
            _check(field, getattr(self, field.name))
        for name in ("beta1", "beta2", "momentum", "average_decay"):
            if getattr(self, name) >= 1:
                raise UserError(f"{name.replace('_', '-')} must be below 1, not {getattr(self, name):g}")
        self._settle_sizes()
        if self.init_noise > 1:
            raise UserError(f"init-noise must be at most 1, not {self.init_noise:g}")
        if self.steps > _MOST_STEPS:
            raise UserError(f"steps must be at most {_MOST_STEPS:,}, not {self.steps:,}")
        for term, weight in self.loss_weights.items():
            if not abs(weight) <= _LARGEST:
                raise UserError(f"the weight of {term!r} must be a finite number, not {weight} (in float32)")
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
        if self.optimiser == "lbfgs":
            self._check_line_search()
        if self.style_weights and not (min(self.style_weights) >= 0 < sum(self.style_weights)):
            raise UserError(f"style-weights must be 0 or more, and some more than 0, not {[*self.style_weights]}")

    def _settle_sizes(self) -> None:
        """The last of several sizes is the result's, and the steps of each add up to those of the run."""
        if self.sizes:
            if self.smallest_size is not None:
                raise UserError("either sizes or smallest-size: both say at which sizes to begin")
            if list(self.sizes) != sorted(self.sizes):
                raise UserError(f"sizes go from coarse to fine, not {[*self.sizes]}")
            object.__setattr__(self, "size", self.sizes[-1])
        if self.smallest_size is not None and (self.size is None or self.smallest_size > self.size):
            raise UserError(f"smallest-size {self.smallest_size} needs a size that is no smaller, not {self.size}")
        if self.size_steps:
            if len(self.size_steps) > len(self.every_size):
                raise UserError(
                    f"size-steps gives the steps of {len(self.size_steps)} sizes, and there are {len(self.every_size)}"
                )
            object.__setattr__(self, "steps", self.size_ends[-1])
        if self.shard_picture and len(self.every_size) > 1:
            raise UserError(f"shard-picture takes one size, not {[*self.every_size]}: say --sizes {self.size}")

    def _check_line_search(self) -> None:
        """A line search needs a loss that the gradient belongs to, and finds the length of its steps itself."""
        for name, mend in (
            ("clamp", "--no-clamp"),
            ("normalise_gradients", "--no-normalise-gradients"),
            ("schedule", "--schedule constant"),
        ):
            if getattr(self, name) not in (False, "constant"):
                option, value = name.replace("_", "-"), getattr(self, name)
                raise UserError(f"{option} ({value}) does not go with optimiser lbfgs: add {mend}")

    @property
    def every_size(self) -> tuple[int | None, ...]:
        """The sizes that a run goes through, from coarse to fine."""
        if self.sizes:
            return self.sizes
        if self.smallest_size is None or self.size is None:
            return (self.size,)
        size, smallest = self.size, self.smallest_size
        downwards = (round(size / self.size_ratio**it) for it in itertools.count())
        return tuple(itertools.takewhile(lambda it: it >= smallest, downwards))[::-1]

    @property
    def size_ends(self) -> tuple[int, ...]:
        """How many steps are made when each size ends."""
        count = len(self.every_size)
        each = self.size_steps or (self.steps // count,) * count
        each += each[-1:] * (count - len(each))
        ends = tuple(itertools.accumulate(each))
        return ends if self.size_steps else (*ends[:-1], self.steps)

    def replace(self, **settings: Any) -> "Config":
        """The same settings but for some; mappings are merged into the present ones.

        Raises:
            UserError: no such setting, a term that the experiment does not have, or a bad value.
        """
        if "steps" in settings and settings.get("size_steps"):
            raise UserError("either steps, in all, or size-steps, at each size: they cannot both be given")
        if "size" in settings and settings.get("sizes"):
            raise UserError("either size, or sizes, of which the last is the result's: they cannot both be given")
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
        # One way to name the sizes takes the place of the other.
        if settings.get("smallest_size") is not None and self.sizes:
            settings.setdefault("sizes", ())
        if settings.get("sizes") and self.smallest_size is not None:
            settings.setdefault("smallest_size", None)
        if self.sizes and "size" in settings and "sizes" not in settings:
            # A run of another size goes through as many.
            size = settings["size"]
            settings["sizes"] = tuple(round(size * it / self.sizes[-1]) for it in self.sizes) if size else ()
        if self.smallest_size and "size" in settings and "smallest_size" not in settings:
            size = settings["size"]
            settings["smallest_size"] = min(self.smallest_size, size) if size else None
        if "steps" in settings and "size_steps" not in settings:
            settings["size_steps"] = ()
        if "steps" in settings and "snapshots" not in settings:
            # A shortened run keeps those of its snapshots that it reaches.
            settings["snapshots"] = tuple(step for step in self.snapshots if step <= settings["steps"])
        if self.size_steps and "size_steps" not in settings:
            sizes = dataclasses.replace(self, **settings, size_steps=()).every_size
            # The first entry is of the first size: sizes that are gone take the last ones along.
            settings["size_steps"] = self.size_steps[: len(sizes)]
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
    """That one setting has a value of its kind and range; of several values, that each has."""
    option = field.name.replace("_", "-")
    choices, least = field.metadata["choices"], field.metadata["least"]
    if field.name in ("sizes", "size_steps", "style_weights"):
        for it in value:
            _check_number(option, it, least, whole=field.name != "style_weights")
        return
    if choices and value is not None and value not in choices:
        raise UserError(f"{option} must be one of {', '.join(choices)}, not {value!r}")
    if least is not None and value is not None:
        _check_number(option, value, least, whole=field.type in (int, int | None))


def _check_number(option: str, value: Any, least: float, *, whole: bool) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UserError(f"{option} must be a finite number, not {value!r}")
    if whole and not isinstance(value, int):
        raise UserError(f"{option} must be a whole number, not {value!r}")
    if value < least:
        raise UserError(f"{option} must be at least {least:g}, not {value:g}")
