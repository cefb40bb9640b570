"""Neural style transfer by optimisation, as a JAX functional research codebase.

    L(x) = sum over terms t of  w_t * distance_t( statistic_t(F(x)), target_t )

A picture x is moved, step by step, until a frozen VGG network F sees the content of one picture and the style of
another in it. A picture is float32 ``[H, W, 3]``, sRGB, in [0, 1].

The rooms; a room imports only from rooms above it:

    errors            the one exception that means "the user can mend this"
    architecture      the facts about VGG networks: layers, names, flavours of weights
    atomic            files that appear whole or not at all
    types             arrays, statistics, distances, terms
    statistics        feature map -> what is compared of it
    losses            (statistic, target) -> scalar, and the losses on pictures
    terms             content and style, in a line each
    shaping           gradients of one loss at a time, rescaled
    images            files <-> arrays; colours, and masks of regions
    examples          pictures that come with the package
    winograd          a 3x3 convolution with fewer multiplications, for CPUs
    convolution       the 3x3 convolution, prepared once, applied in every step; pooling
    vgg               a VGG network as a Flax module: picture -> features
    weights           where weights come from: find, fetch, convert, verify
    selftaught        the network that needs no file, learnt from the two pictures
    network           a word for some weights -> a network
    parameterisation  what is optimised <-> the picture
    mixture           several styles, and regions -> what a style term is compared with
    objective         terms -> targets, total and parts
    optimisers        optax's, and schedules of their learning rate
    averaging         the average of a run's pictures
    optimise          state, and a chunk of steps as one compiled program
    pyramid           a state carried from one size of the picture to the next
    units             settings that a source states on the 0-255 scale
    config            the settings of a run
    record            what config.json says: settings resolved, with a checksum
    variation         what differs between the members of a sweep
    experiment        a Python file that defines settings and terms; presets
    masks             the regions of a run's pictures
    inputs            the pictures of a run, read and sized
    cluster           which of how many processes this one is
    allocator         what the C library does with memory that is freed
    device            what JAX computes on, and its memory
    listener          who is told what a run does
    rundir            the run's folder
    sweepdir          a sweep's folder
    lineup            the pictures of each member of a sweep
    status            how far the run of a folder is
    report            contact sheets, curves, and the page of a run
    checkpoint        states on the disk: whole, or absent
    events            TensorBoard's files
    resolve           everything automatic, decided once, or read from the record
    program           a resolved run, compiled
    many              many resolved runs, compiled as one
    stages            the sizes of a run, one after the other
    keeping           what a run keeps while its steps are made
    steps             the host's side of the steps
    loop              a run from its pictures to its folder, and from its folder on
    grouping          which members of a sweep are computed together
    sweeping          many runs at a time
    signals           what SIGINT and SIGTERM do
    compilation       compiled programs that one process leaves to the next
    terminal          progress on a terminal
    options           the command line's options for the settings
    cli               the command line

Nothing is imported until it is used: ``import nstjax`` starts no device and loads no array library.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nstjax import losses, optimise, optimisers, statistics, units
    from nstjax.config import Config
    from nstjax.errors import Failure, UserError
    from nstjax.experiment import Experiment, load
    from nstjax.loop import Result, resume, stylize
    from nstjax.losses import layer_mean, layer_sum
    from nstjax.network import load_vgg, load_vgg19
    from nstjax.objective import Objective
    from nstjax.statistics import per_layer
    from nstjax.sweeping import sweep
    from nstjax.terms import content_term, style_term
    from nstjax.types import PictureTerm, Term

_HOMES = {
    "Config": "config",
    "Experiment": "experiment",
    "Failure": "errors",
    "Objective": "objective",
    "PictureTerm": "types",
    "Result": "loop",
    "Term": "types",
    "UserError": "errors",
    "content_term": "terms",
    "layer_mean": "losses",
    "layer_sum": "losses",
    "load": "experiment",
    "load_vgg": "network",
    "load_vgg19": "network",
    "losses": None,
    "optimise": None,
    "optimisers": None,
    "per_layer": "statistics",
    "resume": "loop",
    "statistics": None,
    "style_term": "terms",
    "stylize": "loop",
    "sweep": "sweeping",
    "units": None,
}

__all__ = [
    "Config",
    "Experiment",
    "Failure",
    "Objective",
    "PictureTerm",
    "Result",
    "Term",
    "UserError",
    "content_term",
    "layer_mean",
    "layer_sum",
    "load",
    "load_vgg",
    "load_vgg19",
    "losses",
    "optimise",
    "optimisers",
    "per_layer",
    "resume",
    "statistics",
    "style_term",
    "stylize",
    "sweep",
    "units",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nstjax' has no attribute {name!r}")
    home = _HOMES[name]
    module = importlib.import_module(f"nstjax.{home or name}")
    return getattr(module, name) if home else module


def __dir__() -> list[str]:
    return __all__
