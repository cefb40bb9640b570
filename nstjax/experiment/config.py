"""The settings of a run.

A ``Config`` is what an experiment file defines and what the command line changes by name. It is plain data: numbers and
names, no arrays and no functions. This module imports no array library, so a mistake in a setting is reported at once.
"""

import dataclasses
import functools
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from nstjax.errors import UserError
from nstjax.experiment.settings import check_together, setting, to_setting, to_tile
from nstjax.experiment.sizes import change_steps, list_sizes, scale_sizes, share_steps, to_size, to_sizes, to_steps
from nstjax.network.architecture import find_smallest_side, parse_layer

# Each declares a setting in the group of this title, under which `nstjax run --help` shows it.
_term = functools.partial(setting, "Terms and styles")
_size = functools.partial(setting, "Result and sizes")
_colour = functools.partial(setting, "Colours")
_network = functools.partial(setting, "Network")
_start = functools.partial(setting, "Start and parameterisation")
_optimiser = functools.partial(setting, "Steps and optimiser")
_schedule = functools.partial(setting, "Schedule of the learning rate")
_kept = functools.partial(setting, "What is kept")
_machine = functools.partial(setting, "Machine")


@dataclass(frozen=True, kw_only=True)
class Config:
    """The settings of a run; ``nstjax run --help`` prints what each one means.

    Raises:
        UserError: a value out of its range, or two settings that exclude each other.
    """

    loss_weights: Mapping[str, float] = _term(
        {}, "Weights of the terms in the loss, such as style=10,tv=0.1 (default: the experiment's)"
    )
    finish_weights: Mapping[str, float] = _term(
        {},
        "Weights of the terms in a further pass at the last size, in which the other terms take no part (default: the "
        "experiment's; most have no such pass)",
    )
    layers: Mapping[str, tuple[str, ...]] = _term(
        {}, "Layers of the terms, such as style=relu1_1,relu2_1;content=relu4_1 (default: the experiment's)"
    )
    blend_shares: tuple[float, ...] = _term(
        (),
        "Shares of the blended styles, such as 3,1: STYLE first, then the files of --blend (default: equal)",
        least=0,
    )
    style_scale: float = _term(1.0, "Size of the style picture as a multiple of the result's size", least=1e-3)
    style_size: int | None = _term(
        None, "Size of the style picture in pixels, or 'none' (default: none, --style-scale decides)", least=1
    )

    sizes: tuple[int, ...] | str = _size(
        (512,),
        "Sizes in pixels, as --size-by measures them, from coarse to fine: 512, or 128,256,512, or a range, 128:512, "
        "each of whose sizes is sqrt(2) times the one before, or, as in 128:512:2, another multiple of it; "
        "'none' keeps the content picture's size",
        convert=to_sizes,
    )
    size_by: Literal["long", "short", "height", "width", "area"] = _size(
        "long", "Side that a size measures: long, short, height, width, or area (the square root of the area)"
    )
    enlarge: bool = _size(False, "Enlarge pictures that are smaller than their size")
    smaller_from: Literal["largest", "original"] = _size("largest", "Make smaller pictures from: largest or original")
    clip_sizes: bool = _size(False, "Clip the picture to [0, 1] before it grows to the next size")
    resampling: Literal["lanczos", "bicubic", "bilinear", "bilinear-aliased", "area", "gaussian", "nearest"] = _size(
        "lanczos", "Filter that resizes pictures: lanczos, bicubic, bilinear, bilinear-aliased, area, gaussian, nearest"
    )

    match_colour: Literal["none", "content", "style"] = _colour(
        "none", "Picture that first takes on the colours of the other one: none, content or style"
    )
    colour_map: Literal["monge", "cholesky", "pca", "histogram"] = _colour(
        "monge", "How to match colours: monge, cholesky, pca or histogram"
    )
    luminance: bool = _colour(False, "Transfer the luminance of the style alone; the colours of the content stay")
    keep_colours: Literal["none", "yiq", "lab", "oklab"] = _colour(
        "none", "Colour space in which the result gets the content's colours back: none (never), yiq, lab or oklab"
    )

    weights: str = _network(
        "auto", "Weights of the network: auto, self-taught, a name from 'nstjax weights list', or a file"
    )
    pooling: Literal["max", "average", "l2"] | None = _network(
        None, "Pooling layers: max, average or l2 (default: as the weights need)"
    )
    padding: Literal["zero", "edge", "reflect"] | None = _network(
        None, "Padding of the convolutions: zero, edge or reflect (default: as the weights need)"
    )

    init: str = _start("content", "Picture to start from: content, noise, mean, style-mean, style-statistics or a file")
    init_noise: float = _start(0.0, "Share of white noise mixed into the start, from 0 to 1", least=0)
    init_deviation: float = _start(
        0.0, "Standard deviation of normal noise added to the start, on the [0, 1] scale", least=0
    )
    content_details: bool = _start(
        False, "Add the content's finest details to the start, and again at each later size but the last"
    )
    parameterisation: Literal["pixels", "fourier", "laplacian"] = _start(
        "pixels", "What is optimised: pixels, fourier (coefficients of waves) or laplacian (levels of a pyramid)"
    )
    clamp: bool = _start(False, "Clip the picture to [0, 1] after each step (pixels only)")
    seed: int = _start(0, "Seed of all random numbers", least=0, most=2**63 - 1)

    steps: int | tuple[int, ...] = _optimiser(
        500,
        "Number of steps of all sizes together; or at each size, and in the pass of --finish-weights if there is one, "
        "as in 200,100, where the last number repeats",
        convert=to_steps,
    )
    optimiser: Literal["adam", "rmsprop", "sgd", "lbfgs"] = _optimiser("adam", "Optimiser: adam, rmsprop, sgd or lbfgs")
    learning_rate: float = _optimiser(
        0.02, "Learning rate, for pixels on the [0, 1] scale; L-BFGS has --step-length instead", least=0
    )
    beta1: float = _optimiser(0.9, "Decay of the mean gradient in Adam, below 1", least=0)
    beta2: float = _optimiser(0.999, "Decay of the mean squared gradient in Adam and RMSprop, below 1", least=0)
    epsilon: float = _optimiser(
        1e-8, "Number that Adam and RMSprop add to the root of the mean squared gradient", least=1e-20
    )
    early_epsilon: bool = _optimiser(False, "Add epsilon before Adam corrects the mean square, as TensorFlow does")
    momentum: float = _optimiser(0.0, "Momentum of RMSprop and SGD, below 1", least=0)
    memory: int = _optimiser(10, "Number of past steps that L-BFGS remembers", least=1)
    line_search: bool = _optimiser(
        True, "Search the length of each step of L-BFGS; without it, a step costs one evaluation, but the loss may rise"
    )
    step_length: float = _optimiser(1.0, "Length of the steps of L-BFGS without a line search", least=0)
    first_step: float = _optimiser(
        1.0, "Sum of all changes in the first step of L-BFGS without a line search, at step length 1", least=1e-6
    )
    line_search_steps: int = _optimiser(20, "Most step lengths that the line search tries in one step", least=1)
    restart_optimiser: bool = _optimiser(False, "Forget the optimiser's past gradients at each new size")
    normalise_gradients: bool = _optimiser(False, "Divide each term's gradient, at each layer, by its L1 norm")

    schedule: Literal["constant", "cosine", "exponential"] = _schedule(
        "constant", "Schedule of the learning rate: constant, cosine or exponential"
    )
    last_size_rate: float = _schedule(1.0, "Factor on the learning rate at the last size", least=0)
    schedule_end: float = _schedule(0.0, "Factor on the learning rate at the end of the cosine schedule", least=0)
    horizon: int | None = _schedule(
        None, "Step at which the cosine schedule ends (default: the number of steps)", least=1
    )
    schedule_rate: float = _schedule(
        0.96, "Factor by which the exponential schedule changes the rate every --schedule-steps", least=0
    )
    schedule_steps: int = _schedule(100, "Steps in which the exponential schedule applies its rate once", least=1)

    keep: Literal["last", "best", "after-best", "average"] = _kept(
        "last",
        "Picture that is the result: last, best (lowest loss), after-best (one step later), or average (of late steps)",
    )
    average_decay: float = _kept(
        0.99, "Weight of each step in the average relative to the step after it, below 1", least=0
    )
    depth: Literal[8, 16] = _kept(8, "Bits of each colour of the result: 8, or 16 in a PNG or TIFF")
    snapshots: tuple[int, ...] = _kept(
        (), "Steps after which to keep the picture, such as 100,500, or 'none' (default: none)"
    )
    snapshot_every: int | None = _kept(None, "Steps between further snapshots, or 'none' (default: none)", least=1)
    log_every: int | None = _kept(None, "Steps between logged steps (default: a twentieth of the run)", least=1)
    checkpoint_every: int = _kept(500, "Most steps between checkpoints", least=1)
    checkpoint_minutes: float = _kept(5.0, "Most minutes between checkpoints", least=0)
    checkpoint_keep: int = _kept(3, "Number of checkpoints to keep, the newest ones", least=2)
    tensorboard: bool = _kept(False, "Write TensorBoard event files into the folder of the run as well")

    dtype: Literal["float32", "bfloat16"] = _machine(
        "float32", "Number type of the network's convolutions: float32 or bfloat16"
    )
    precision: Literal["default", "high", "highest"] = _machine(
        "default", "Precision of float32 products on accelerators: default, high or highest"
    )
    convolution: Literal["auto", "direct", "winograd"] = _machine(
        "auto", "Convolution on a CPU: direct, winograd (faster, but longer to compile), or auto (what suits the run)"
    )
    rematerialise: bool = _machine(
        False, "Recompute feature maps for the gradient on accelerators: less memory, more time"
    )
    tile: int | Literal["auto", "none"] = _machine(
        "auto",
        "Most pixels of a tile along each side: large pictures are computed tile by tile, with the same result; "
        "none: at once; auto: by tiles if they do not fit into memory at once",
        convert=to_tile,
    )
    recompute_content: bool = _machine(
        False,
        "With tiles, compute the content's feature maps at every step instead of keeping them: less memory, more time",
    )
    shard_picture: bool = _machine(False, "Share out the tiles of one picture among all devices, of all processes")
    deterministic: bool = _machine(False, "Give the same bits every time on a GPU too, at some cost; a CPU always does")

    def __post_init__(self):
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, to_setting(field, getattr(self, field.name)))
        object.__setattr__(self, "snapshots", tuple(sorted(set(self.snapshots))))
        check_together(self)

    @property
    def takes_fixed_steps(self) -> bool:
        """True if the optimiser is L-BFGS without a line search."""
        return self.optimiser == "lbfgs" and not self.line_search

    @property
    def first_rate(self) -> float:
        """Learning rate of the optimiser at the first size: for steps of a fixed length, that length."""
        rate = self.step_length if self.takes_fixed_steps else self.learning_rate
        return rate if len(self.every_size) > 1 else rate * self.last_size_rate

    @property
    def every_size(self) -> tuple[int | None, ...]:
        """The sizes that a run goes through, from coarse to fine; None is the content picture's."""
        return list_sizes(self.sizes)

    @property
    def size(self) -> int | None:
        """The size of the result; None for the content picture's."""
        return self.every_size[-1]

    @property
    def steps_by_stage(self) -> tuple[int, ...]:
        """The number of steps at each size, and in the pass after the last one if there is one."""
        return share_steps(self.steps, self.count_stages(), kind="stages" if self.finish_weights else "sizes")

    @property
    def stage_ends(self) -> tuple[int, ...]:
        """The number of steps made when each size ends, and the pass after the last one."""
        return tuple(itertools.accumulate(self.steps_by_stage))

    @property
    def total_steps(self) -> int:
        """The number of steps of all stages together."""
        return sum(self.steps_by_stage)

    def count_stages(self) -> int:
        """Return the number of sizes, and one more if there is a pass after the last size."""
        return len(self.every_size) + bool(self.finish_weights)

    def replace(self, **settings: Any) -> "Config":
        """Return a copy with some settings replaced; mappings are merged into the present ones.

        Args:
            settings: the new values. ``size`` is short for ``sizes``: the sizes change in proportion to the last, and a
                range ends there. A number of steps is shared in the present proportions, if the settings have steps
                for each size. Snapshots that a shorter run does not reach are left out.

        Raises:
            UserError: no such setting, a term that the experiment does not have, or a bad value.
        """
        known = {field.name: field for field in dataclasses.fields(self)}
        for name in settings:
            if name not in (*known, "size"):
                raise UserError(f"no setting {name!r}: expected one of {', '.join(sorted([*known, 'size']))}")
        if "size" in settings:
            if "sizes" in settings:
                raise UserError("size and sizes exclude each other: the last of sizes is the size of the result")
            settings["sizes"] = scale_sizes(self.sizes, to_size(settings.pop("size")))
        settings = {name: to_setting(known[name], value) for name, value in settings.items()}
        for name, value in settings.items():
            present = getattr(self, name)
            if isinstance(present, Mapping):
                terms = {**self.loss_weights, **present} if name == "finish_weights" else present
                for term in value:
                    if term not in terms:
                        raise UserError(f"no term {term!r} in {name}: expected one of {', '.join(terms) or 'none'}")
                settings[name] = {**present, **value}
        finish_weights = settings.get("finish_weights", self.finish_weights)
        count = len(list_sizes(settings.get("sizes", self.sizes))) + bool(finish_weights)
        settings["steps"] = change_steps(self.steps, settings.get("steps"), count)
        if "snapshots" not in settings:
            total = dataclasses.replace(self, **settings, snapshots=()).total_steps
            settings["snapshots"] = tuple(step for step in self.snapshots if step <= total)
        return dataclasses.replace(self, **settings)

    def weights_at(self, step: int) -> Mapping[str, float]:
        """Return the weights of the terms that take part in the step after `step` others."""
        return self.finish_weights if self.finish_weights and step >= self.stage_ends[-2] else self.loss_weights

    def is_snapshot(self, step: int) -> bool:
        """Return whether the picture after this number of steps is kept."""
        every = self.snapshot_every
        return step in self.snapshots or (every is not None and step > 0 and step % every == 0)

    def is_logged(self, step: int) -> bool:
        """Return whether the losses before the update of this step are logged; ``log_every`` must be set."""
        assert self.log_every is not None
        return step % self.log_every == 0 or step == self.total_steps - 1

    @property
    def every_layer(self) -> tuple[str, ...]:
        """The layers of all terms, each once."""
        return tuple(dict.fromkeys(name for names in self.layers.values() for name in names))

    def check_picture(self, kind: str, height: int, width: int) -> None:
        """Raise if a picture of this size has no position left in some layer.

        Args:
            kind: the picture's name in the message, such as "content".
            height: in pixels.
            width: in pixels.

        Raises:
            UserError: the picture is too small; the line names the layer.
        """
        least = find_smallest_side(self.every_layer)
        if min(height, width) < least:
            deepest = max(
                (name for name in self.every_layer if name != "input"), key=lambda name: parse_layer(name).halvings
            )
            raise UserError(
                f"the {kind} picture would be {width}x{height} pixels, too small for layer {deepest}, "
                f"which needs {least} on each side: use a larger picture or size"
            )
