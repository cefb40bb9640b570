"""Neural style transfer by optimisation, as a JAX functional research codebase.

    L(x) = sum over terms t of  w_t * distance_t( statistic_t(F(x)), target_t )

A picture x is moved, step by step, until a frozen VGG network F sees the content of one picture and the style of
another in it. A picture is float32 ``[H, W, 3]``, sRGB, in [0, 1].

The rooms; a room imports only from rooms above it:

    errors            the exceptions that a caller may want to catch
    arguments         what callers pass -> plain values, or one clear line
    types             arrays, statistics, distances, terms
    callbacks         who is told what a run does
    system            the machine: whole files, memory, devices, signals, compiled programs, processes
    images            files <-> arrays; resizing, colours, regions, examples
    vectors           feature maps -> sets of vectors
    statistics        feature map -> what is compared of it
    losses            (statistic, target) -> scalar, and the losses on pictures
    shaping           gradients of one loss at a time, rescaled
    blending          several styles, and regions -> what a style term is compared with
    tiling            statistics of a picture that is too large to be computed at once, tile by tile
    targets           targets that are made by functions of the content and the style
    objective         terms -> targets, total and parts
    divergence        when the loss of a run counts as lost
    parameterisation  what is optimised <-> the picture
    optimisers        optax's, and schedules of their learning rate
    optimise          state, and a chunk of steps as one compiled program
    multiscale        a state carried from one size of the picture to the next
    network           picture -> features: VGG19 and VGG16, their weights, and a network learnt from the pictures
    experiment        settings, experiment files, prepared pictures; all of it resolved, once, and recorded
    storage           folders of runs and sweeps, checkpoints, status
    reports           contact sheets, curves, and the pages of runs and sweeps
    runs              one run: stylize, resume, the loop over chunks and sizes
    sweeps            many runs as one program, over devices and processes
    folders           resume, status and report of the folder of a run or of a sweep
    cli               the command line

Four files tell the whole story: statistics, objective, optimise, runs/stylize.

Nothing is imported until it is used: ``import nstjax`` starts no device and loads no array library.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nstjax import losses, optimise, optimisers, statistics
    from nstjax.errors import Failure, UserError
    from nstjax.experiment import units
    from nstjax.experiment.config import Config
    from nstjax.experiment.experiment import Experiment, load
    from nstjax.experiment.inputs import prepare
    from nstjax.folders import report, resume, status
    from nstjax.losses import layer_mean, layer_sum
    from nstjax.network.load import load_vgg, load_vgg19
    from nstjax.objective import Objective, content_term, style_term
    from nstjax.runs.result import Result
    from nstjax.runs.stylize import stylize
    from nstjax.statistics import per_layer
    from nstjax.sweeps.sweep import sweep
    from nstjax.types import PictureTerm, Term

_MODULES = {
    "losses": "losses",
    "optimise": "optimise",
    "optimisers": "optimisers",
    "statistics": "statistics",
    "units": "experiment.units",
}
_HOMES = {
    "Config": "experiment.config",
    "Experiment": "experiment.experiment",
    "Failure": "errors",
    "Objective": "objective",
    "PictureTerm": "types",
    "Result": "runs.result",
    "Term": "types",
    "UserError": "errors",
    "content_term": "objective",
    "layer_mean": "losses",
    "layer_sum": "losses",
    "load": "experiment.experiment",
    "load_vgg": "network.load",
    "load_vgg19": "network.load",
    "per_layer": "statistics",
    "prepare": "experiment.inputs",
    "report": "folders",
    "resume": "folders",
    "status": "folders",
    "style_term": "objective",
    "stylize": "runs.stylize",
    "sweep": "sweeps.sweep",
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
    "prepare",
    "report",
    "resume",
    "statistics",
    "status",
    "style_term",
    "stylize",
    "sweep",
    "units",
]


if not TYPE_CHECKING:  # type checkers see the names above, and no others

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return importlib.import_module(f"nstjax.{_MODULES[name]}")
        if name in _HOMES:
            return getattr(importlib.import_module(f"nstjax.{_HOMES[name]}"), name)
        raise AttributeError(f"module 'nstjax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
