"""The sizes and steps at which a preset meets its program, and what each preset leaves out on purpose."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """A preset at small sizes.

    Args:
        sizes: of the picture, from coarse to fine, as the preset measures them.
        steps: number of evaluations of the loss at each size, and in a further pass if there is one.
        content: aspect of the content, height and width.
        style: aspect of the style.
        pixels: long sides of the content and the style as they are given, for presets that keep them.
        settings: further settings of the preset, and sizes if it has a range of them.
        chaotic: whether roundings grow to differences of several percent on the way, as in L-BFGS without a line
            search and in one that stops elsewhere.
        sees_last: whether the program's result is the picture that its last evaluation sees, so that the preset makes
            one step less at each size.
        draws: whether equal runs differ by the numbers that they draw at every step.
        leaves_out: what the preset leaves out on purpose, as the procedure names it.
    """

    sizes: tuple[int, ...]
    steps: tuple[int, ...]
    content: tuple[int, int] = (4, 3)
    style: tuple[int, int] = (1, 1)
    pixels: tuple[int, int] | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    chaotic: bool = False
    sees_last: bool = False
    draws: bool = False
    leaves_out: frozenset[str] = frozenset()

    @property
    def preset_steps(self) -> tuple[int, ...]:
        """The number of steps that the preset makes at each size."""
        return tuple(steps - self.sees_last for steps in self.steps)


@dataclass(frozen=True)
class Purpose:
    """A thing that a preset leaves out on purpose, and the case that shows what that changes.

    Args:
        preset: name of the preset.
        name: what is left out, as the procedure names it.
        text: the same in words.
        changes: fields of the preset's case that differ, to show it.
    """

    preset: str
    name: str
    text: str
    changes: dict[str, Any] = field(default_factory=dict)


CASES = {
    "strotss": Case((64, 128), (20, 10), draws=True, sees_last=True, leaves_out=frozenset({"corners"})),
    "nnst": Case(
        (64, 128), (60, 40, 40), draws=True, sees_last=True, leaves_out=frozenset({"corners", "levels", "other maps"})
    ),
    "style-transfer-pytorch": Case((64, 91), (60, 20), settings={"sizes": "64:91"}),
    "neural-style-pt": Case((128,), (60,), chaotic=True, sees_last=True),
    "gatys-pytorch": Case((48, 96), (60, 20), chaotic=True),
    "tensorflow-tutorial": Case((128,), (60,)),
    "pytorch-tutorial": Case((96,), (60,), style=(4, 3), chaotic=True, leaves_out=frozenset({"clamp"})),
    "anishathalye": Case((128,), (60,), pixels=(128, 160)),
    "pystiche": Case((96,), (60,), chaotic=True),
    "li-wand": Case((40, 80, 160), (60, 20, 20), chaotic=True),
    "sliced-wasserstein": Case((64,), (30,), style=(4, 3), pixels=(64, 64), chaotic=True),
    "gatys-controls": Case((64, 112), (60, 20), content=(1, 1), chaotic=True, sees_last=True),
    "neural-style": Case((128,), (60,), chaotic=True, sees_last=True, leaves_out=frozenset({"256", "variation"})),
    "neural-style-tf": Case((128,), (60,), style=(4, 3), chaotic=True),
    "keras-example": Case((128,), (60,), style=(4, 3), chaotic=True),
    "tutorial": Case((128,), (50,)),
    "tutorial-literal": Case((128,), (50,)),
    "long-run": Case((128,), (60,)),
}
"""The presets that have a program or a text, in the order of the page."""

_TEN = {"steps": (10,)}

PURPOSES = (
    Purpose(
        "strotss",
        "corners",
        "reads layers, and forms its pyramid, with the corners aligned; the preset with the centres",
    ),
    Purpose("nnst", "corners", "resizes pictures with their corners aligned; the preset with their edges"),
    Purpose("nnst", "levels", "one more level of the pyramid with each size; the preset five at every size"),
    Purpose("nnst", "other maps", "compares small maps with numbers of the last large one; the preset with themselves"),
    Purpose(
        "pytorch-tutorial", "clamp", "clamps the picture inside L-BFGS's evaluations; the preset when it is written"
    ),
    Purpose("neural-style", "256", "multiplies pictures by 256; the preset by 255"),
    Purpose(
        "neural-style", "variation", "total variation without a value: its weight times half the squares is missing"
    ),
    Purpose(
        "neural-style", "ceil", "pooling keeps an odd last row or column, at 120 pixels", {"sizes": (120,), **_TEN}
    ),
    Purpose("anishathalye", "ceil", "the same, pictures of 120 pixels", {"pixels": (120, 120), **_TEN}),
    Purpose("neural-style-tf", "ceil", "the same, average pooling, at 120 pixels", {"sizes": (120,), **_TEN}),
    Purpose("gatys-controls", "ceil", "the same, at 60, then 120 pixels", {"sizes": (60, 120), "steps": (10, 10)}),
    Purpose(
        "neural-style-tf", "distortion", "a square style in the content's 4:3; the preset keeps it", {"style": (1, 1)}
    ),
    Purpose("keras-example", "distortion", "the same", {"style": (1, 1)}),
    Purpose("neural-style-pt", "floor", "sides rounded down: 93.75 to 93; the preset's 94", {"sizes": (125,), **_TEN}),
)
