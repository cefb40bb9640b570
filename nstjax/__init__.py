"""Neural style transfer by optimisation, as a JAX functional research codebase.

    L(x) = sum over terms t of  w_t * distance_t( statistic_t(F(x)), target_t )

A picture x is moved, step by step, until a frozen VGG19 F sees the content of one picture and the style of another in
it. A picture is float32 ``[H, W, 3]``, sRGB, in [0, 1].

The rooms, each importing only from those before it: ``errors`` and ``architecture`` (facts), ``types``, ``statistics``,
``losses``, ``images``, ``convolution``, ``vgg``, ``weights``, ``selftaught``, ``parameterisation``, ``objective``,
``optimise``, ``config``, ``experiment``, ``inputs``, ``rundir``, ``stylize``, ``cli``.

Nothing is imported until it is used: ``import nstjax`` starts no device and loads no array library.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nstjax import losses, optimise, statistics
    from nstjax.config import Config
    from nstjax.errors import UserError
    from nstjax.experiment import Experiment, load
    from nstjax.loop import Result, stylize
    from nstjax.losses import layer_mean, layer_sum
    from nstjax.network import load_vgg19
    from nstjax.objective import Objective
    from nstjax.statistics import per_layer
    from nstjax.types import PictureTerm, Term

_HOMES = {
    "Config": "config",
    "Experiment": "experiment",
    "Objective": "objective",
    "PictureTerm": "types",
    "Result": "loop",
    "Term": "types",
    "UserError": "errors",
    "layer_mean": "losses",
    "layer_sum": "losses",
    "load": "experiment",
    "load_vgg19": "network",
    "losses": None,
    "optimise": None,
    "per_layer": "statistics",
    "statistics": None,
    "stylize": "loop",
}

__all__ = [
    "Config",
    "Experiment",
    "Objective",
    "PictureTerm",
    "Result",
    "Term",
    "UserError",
    "layer_mean",
    "layer_sum",
    "load",
    "load_vgg19",
    "losses",
    "optimise",
    "per_layer",
    "statistics",
    "stylize",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nstjax' has no attribute {name!r}")
    home = _HOMES[name]
    module = importlib.import_module(f"nstjax.{home or name}")
    return getattr(module, name) if home else module


def __dir__() -> list[str]:
    return __all__
