"""The input and the output of a procedure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

Parameters = Mapping[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Task:
    """The pictures, the network and the numbers of a run.

    Args:
        content: uint8 [H, W, 3].
        style: the same.
        parameters: {"block1_conv1": (kernel [3, 3, in, out], bias [out]), …} of a VGG19.
        flavour: "caffe" or "torchvision": the pictures that the network was trained for.
        loss_weights: {term: its weight}, for the program's own numbers.
        sizes: sizes of the picture from coarse to fine, as the program measures them; None for the content's.
        steps: number of evaluations of the loss at each size, and in a further pass if the program makes one.
        seed: seed of what the program draws.
        leave_out: names of what the program does and the preset leaves out on purpose; left out here too.
    """

    content: np.ndarray
    style: np.ndarray
    parameters: Parameters
    flavour: str
    loss_weights: Mapping[str, float]
    sizes: tuple[int, ...]
    steps: tuple[int, ...]
    seed: int = 0
    leave_out: frozenset[str] = frozenset()


@dataclass
class Run:
    """The curve and the picture of a run.

    Args:
        losses: the loss at each evaluation, before the picture is moved.
        start: the picture to start from, RGB on the [0, 1] scale, if the program draws it.
        picture: the result, RGB [H, W, 3] in [0, 1].
    """

    losses: list[float] = field(default_factory=list)
    start: np.ndarray | None = None
    picture: np.ndarray | None = None
