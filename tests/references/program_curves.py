"""Curves of the sources' whole procedures, on a narrow random network, and the runs that they belong to.

    python tests/references/program_curves.py            writes program_curves.npz next to this file, with PyTorch

The procedures are those of ``experiments/comparison/programs``. Without PyTorch the stored curves serve.
"""

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments" / "comparison"))
sys.path.insert(0, str(Path(__file__).parents[2] / "experiments" / "studies"))
sys.path.insert(0, str(Path(__file__).parents[1]))

from narrow_vgg19 import make_narrow_weights
from references.inputs import picture

CURVES = Path(__file__).with_suffix(".npz")


class Case(NamedTuple):
    """The sizes and steps of a preset, and its pictures.

    Args:
        sizes: of the picture, from coarse to fine.
        steps: number of evaluations of the loss at each size, and in a pass after them.
        content: height and width of the content as it is given.
        style: the same of the style.
        settings: further settings of the preset.
        sees_last: whether the last evaluation at each size only shows the result.
        leaves_out: what the preset leaves out on purpose.
        seeds: of the procedure, if it draws at every step: a curve of each is stored.
        loss_weights: instead of the preset's own.
    """

    sizes: tuple
    steps: tuple
    content: tuple = (48, 32)
    style: tuple = (48, 48)
    settings: dict | None = None
    sees_last: bool = False
    leaves_out: frozenset = frozenset()
    seeds: tuple = (0,)
    loss_weights: dict | None = None


CASES = {
    "style-transfer-pytorch": Case((34, 48), (14, 6), content=(144, 96), settings={"sizes": "34:48"}),
    "neural-style-pt": Case((48,), (20,), sees_last=True),
    "gatys-pytorch": Case((32, 48), (20, 20), content=(144, 96)),
    "tensorflow-tutorial": Case((48,), (20,), content=(144, 96)),
    "pytorch-tutorial": Case((32,), (20,), style=(48, 32), leaves_out=frozenset({"clamp"})),
    "anishathalye": Case((), (20,), style=(32, 32)),
    "pystiche": Case((32,), (20,), style=(32, 32)),
    "li-wand": Case((32,), (12,), content=(96, 96)),
    "sliced-wasserstein": Case((), (10,), style=(48, 32)),
    "gatys-controls": Case((32,), (12,), content=(96, 96), style=(96, 96), sees_last=True),
    "keras-example": Case((48,), (20,), content=(144, 96), style=(144, 96)),
    "tutorial": Case((48,), (20,)),
    "nnst": Case(
        *((36, 72), (12, 8, 6)),
        content=(72, 64),
        style=(64, 72),
        sees_last=True,
        leaves_out=frozenset({"levels", "other maps"}),
    ),
    "strotss": Case(
        *((64, 128), (8, 5)),
        content=(128, 64),
        style=(64, 128),
        sees_last=True,
        leaves_out=frozenset({"corners"}),
        seeds=(0, 1, 2),
        # On this network the terms are about 0.1, 0.01, 10 and 0.0005: with these weights each of them counts.
        loss_weights={"content": 1.0, "style": 5.0, "moments": 5e-3, "palette": 100.0},
    ),
}
"""Pictures have their final size where the program would round resized ones to 8 bits, which the preset does not.

The first size of nnst is the smallest whose short side can be halved five times; its last steps are those of the pass
after its sizes, in which so small maps are compared at all positions. The first size of strotss is the source's, which
its weights depend on.

Not here: neural-style and tutorial-literal, which share their procedures with others, neural-style-tf, whose L-BFGS is
SciPy's, and long-run, which has no source to run.
"""


def make_pictures(case):
    """Return the content and the style, uint8 [H, W, 3]."""
    return [np.uint8(np.rint(255 * picture(*shape, seed))) for shape, seed in ((case.content, 2), (case.style, 3))]


def compute_curves(parameters):
    """Return {"preset": losses, "preset/start": picture} of every procedure, with the loss weights of the presets.

    Losses are [steps], or [seeds, steps] of a procedure with several seeds.
    """
    import torch
    from programs import PROCEDURES, Task

    from nstjax.experiment.experiment import load

    torch.set_num_threads(1)
    arrays = {}
    for preset, case in CASES.items():
        content, style = make_pictures(case)
        config = load(preset).config
        numbers = case.loss_weights or {**config.loss_weights, **config.finish_weights}, case.sizes, case.steps
        options = {"leave_out": case.leaves_out}
        runs = [
            PROCEDURES[preset](Task(content, style, parameters, "caffe", *numbers, seed=seed, **options))
            for seed in case.seeds
        ]
        ends = np.cumsum(case.steps) if case.sees_last else ()
        curves = np.array([[loss for k, loss in enumerate(run.losses, 1) if k not in ends] for run in runs])
        arrays[preset] = curves if len(runs) > 1 else curves[0]
        if runs[0].start is not None:
            arrays[f"{preset}/start"] = runs[0].start
    return arrays


if __name__ == "__main__":
    np.savez_compressed(CURVES, **compute_curves(make_narrow_weights().parameters))
