"""The whole procedures of the presets' sources, derived from their code and written again in PyTorch.

A procedure does what its program does, in the program's order and on the program's scale: reads and resizes the
pictures, makes the start, computes the targets, optimises, clips, and goes from size to size. It gets a ``Task`` and
returns a ``Run``. Nothing of nstjax is used.
"""

from programs.crowson import style_transfer_pytorch
from programs.gatys import gatys_controls, gatys_pytorch
from programs.johnson import neural_style, neural_style_pt
from programs.nnst import nnst
from programs.patches import li_wand
from programs.pystiche import pystiche
from programs.pytorch_tutorial import pytorch_tutorial
from programs.sliced import sliced_wasserstein
from programs.strotss import strotss
from programs.task import Run, Task
from programs.tensorflow import anishathalye, keras_example, neural_style_tf, tensorflow_tutorial
from programs.texts import long_run, tutorial, tutorial_literal

PROCEDURES = {
    procedure.__name__.replace("_", "-"): procedure
    for procedure in (
        strotss,
        nnst,
        style_transfer_pytorch,
        neural_style_pt,
        gatys_pytorch,
        tensorflow_tutorial,
        pytorch_tutorial,
        anishathalye,
        pystiche,
        li_wand,
        sliced_wasserstein,
        gatys_controls,
        neural_style,
        neural_style_tf,
        keras_example,
        tutorial,
        tutorial_literal,
        long_run,
    )
}
"""{preset: the procedure of its source}."""

__all__ = ["PROCEDURES", "Run", "Task"]
