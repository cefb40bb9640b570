"""Kolkin et al.'s Neural Neighbor Style Transfer at commit 290976a: ``utils/stylize.py`` and what it imports.

Without the colours that it gives the result. Steps beyond those of the sizes are the last pass, which compares layer by
layer.
"""

import random
from collections.abc import Callable

import torch
from torch import Tensor, optim
from torch.nn import functional

from programs.optimisers import make_closure
from programs.pictures import tensorflow_bilinear, to_picture, to_tensor
from programs.pyramid import compose, decompose
from programs.strotss import resize
from programs.task import Run, Task
from programs.vgg import Network, flatten

RELUS = (
    *("relu1_1", "relu1_2", "relu2_1", "relu2_2"),
    *("relu3_1", "relu3_2", "relu3_3", "relu4_1", "relu4_2", "relu4_3"),
)


def replace_by_nearest(columns: Tensor, style: Tensor) -> Tensor:
    """Return for each column [C, N] the nearest of the style by the cosine after centring."""
    a, b = (x - x.mean(1, keepdim=True) for x in (columns, style))
    cosines = (b / b.norm(dim=0)).T @ (a / a.norm(dim=0))
    return style[:, cosines.argmax(0)]


def split(maps: list[Tensor], styles: list[Tensor], *, other_maps: bool) -> Tensor:
    """Return the sum over layers of the mean distance from the nearest of the style, at positions drawn anew.

    With ``other_maps``, a small map leaves the place to the numbers of the last large one, as in the program's loop.
    """
    total, sampled = torch.zeros(()), None
    for features, style in zip(maps, styles, strict=True):
        side, chosen = max(features.shape[2:]), features
        if side > 64:
            stride = side // 64
            first = [random.randint(0, stride - 1) for _ in range(2)]
            style, sampled = (x[:, :, first[0] :: stride, first[1] :: stride] for x in (style, features))
            chosen = sampled
        elif other_maps and sampled is not None:
            chosen = sampled
        channels = style.shape[1]
        a, b = (x.reshape(channels, -1) for x in (chosen, style))
        a, b = (x - x.mean(1, keepdim=True) for x in (a, b))
        distances = 1 - (b / b.norm(dim=0)).T @ (a / a.norm(dim=0))
        total = total + distances.min(0).values.mean()
    return total


def nnst(task: Task) -> Run:
    """Run ``produce_stylization`` with its defaults, one size after the other."""
    run, net = Run(), Network(task.parameters, task.flavour, reads="torchvision")
    random.seed(task.seed)

    def read(picture: Tensor) -> list[Tensor]:
        return net(net.preprocess(picture), RELUS)

    def read_columns(picture: Tensor) -> Tensor:
        shape = picture.shape[2] // 4, picture.shape[3] // 4
        return torch.cat([flatten(resize(x / x.shape[1], shape)) for x in read(picture)])

    def load(pixels) -> Tensor:
        picture = to_tensor(pixels)
        factor = task.sizes[-1] / max(picture.shape[2:])
        shape = int(picture.shape[2] * factor), int(picture.shape[3] * factor)
        return (tensorflow_bilinear if "corners" in task.leave_out else resize)(picture, shape)

    count = len(task.sizes)
    contents, styles = (
        decompose(load(pixels), count + 4, tensorflow_bilinear) for pixels in (task.content, task.style)
    )
    levels = [torch.zeros_like(level) if k < count - 1 else level for k, level in enumerate(contents)]

    def optimise(scale: int, steps: int, loss: Callable[[Tensor], Tensor]) -> None:
        moved, image = levels[scale:], compose(levels[scale:], tensorflow_bilinear)
        if "levels" in task.leave_out:
            moved = decompose(image, 5, tensorflow_bilinear)
        moved = [level.clone().requires_grad_() for level in moved]
        optimiser = optim.Adam(moved, lr=2e-3)
        closure = make_closure(optimiser, moved, lambda moved: loss(compose(moved, tensorflow_bilinear)), run.losses)
        for _ in range(steps):
            image = compose(moved, tensorflow_bilinear).detach()  # the program keeps what its last evaluation sees
            optimiser.step(closure)
        levels[scale:] = decompose(image, count + 4 - scale, tensorflow_bilinear)

    for scale, steps in zip(reversed(range(count)), task.steps, strict=False):
        content, style = compose(contents[scale:], tensorflow_bilinear), compose(styles[scale:], tensorflow_bilinear)
        share = 0.0 if scale == count - 1 else 0.25
        searched = share * compose([contents[scale], *levels[scale + 1 :]], tensorflow_bilinear) + (1 - share) * content
        turned = torch.cat([read_columns(torch.rot90(style, quarters, (2, 3))) for quarters in range(4)], dim=1)
        target = functional.normalize(replace_by_nearest(read_columns(searched), turned), dim=0, eps=1e-4)

        def loss(picture: Tensor, target=target) -> Tensor:
            columns = functional.normalize(read_columns(picture), dim=0, eps=1e-4)
            return task.loss_weights["style"] * (1 - (columns * target).sum(0)).mean()

        optimise(scale, steps, loss)
    if len(task.steps) > count:
        style, turned = compose(styles, tensorflow_bilinear), []
        for quarters in range(4):
            maps = read(torch.rot90(style, quarters, (2, 3)))
            turned.append([torch.rot90(x, -quarters, (2, 3)) if quarters % 2 else x for x in maps])
        styles = [torch.cat(maps, dim=2) for maps in zip(*turned, strict=True)]
        other_maps = "other maps" not in task.leave_out
        optimise(
            0,
            task.steps[-1],
            lambda picture: task.loss_weights["split"] * split(read(picture), styles, other_maps=other_maps),
        )
    run.picture = to_picture(compose(levels, tensorflow_bilinear))
    return run
