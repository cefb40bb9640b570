"""Kolkin et al.'s STROTSS at commit 9a1543a: ``styleTransfer.py``, ``st_helper.py`` and what they import."""

import math

import torch
from torch import Tensor, optim
from torch.nn import functional

from programs.optimisers import make_closure
from programs.pictures import tensorflow_bilinear, to_picture, to_tensor
from programs.pyramid import compose, decompose
from programs.task import Run, Task
from programs.vgg import Network

RELUS = ("relu1_1", "relu1_2", "relu2_1", "relu2_2", "relu3_1", "relu3_2", "relu3_3", "relu4_3", "relu5_3")


def resize(picture: Tensor, shape) -> Tensor:
    """Resize between corners, as the program's pyramid does."""
    return functional.interpolate(picture, tuple(shape), mode="bilinear", align_corners=True)


def shrink(pixels: Tensor, size: int) -> Tensor:
    """Resize a picture to a long side, without anti-aliasing."""
    factor = size / max(pixels.shape[2:])
    return tensorflow_bilinear(pixels, (int(pixels.shape[2] * factor), int(pixels.shape[3] * factor)))


def find_details(content: Tensor) -> Tensor:
    """Return the picture minus itself at half the size."""
    height, width = content.shape[2:]
    half = tensorflow_bilinear(content, (height // 2, width // 2))
    return content - tensorflow_bilinear(half, (height, width))


def read(maps: list[Tensor], y: Tensor, x: Tensor, *, nearest: bool = False, centre: float = 0.0) -> Tensor:
    """Return [N, C]: all maps at positions that count in pixels of the picture, halved where a map is smaller.

    The centre of a pixel is its corner, as in the program, or ``centre`` further.
    """
    columns, above = [], maps[0]
    for features in maps:
        if features.shape[2] < above.shape[2]:
            y, x = ((values + centre) / 2 - centre for values in (y, x))
            y, x = y.clamp(min=0), x.clamp(min=0)
        above = features
        height, width = features.shape[2:]
        i, j = y.floor().long().clamp(max=height - 1), x.floor().long().clamp(max=width - 1)
        F = features[0]
        if nearest:
            columns.append(F[:, i, j])
            y, x = i.double(), j.double()
            continue
        down, across = (y - y.floor()).float(), (x - x.floor()).float()
        i2, j2 = (i + 1).clamp(max=height - 1), (j + 1).clamp(max=width - 1)
        upper = (1 - across) * F[:, i, j] + across * F[:, i, j2]
        lower = (1 - across) * F[:, i2, j] + across * F[:, i2, j2]
        columns.append((1 - down) * upper + down * lower)
    return torch.cat(columns).T


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Return the cosine distance of every row of a from every row of b."""
    return 1 - a @ b.T / a.norm(dim=1)[:, None] / b.norm(dim=1)


def relax(distances: Tensor) -> Tensor:
    """Return the relaxed earth mover's distance."""
    return torch.maximum(distances.min(1).values.mean(), distances.min(0).values.mean())


def compare_colours(a: Tensor, b: Tensor) -> Tensor:
    """Return the relaxed earth mover's distance of colours; the program's rotation of them changes no distance."""
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return relax(cosine(a, b) + (squares.clamp(1e-5, 1e5) / 3).sqrt())


def compare_moments(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean absolute difference of means and of covariances."""
    (mean_a, covariance_a), (mean_b, covariance_b) = (
        (x.mean(0), (x - x.mean(0)).T @ (x - x.mean(0)) / len(x)) for x in (a, b)
    )
    return (mean_a - mean_b).abs().mean() + (covariance_a - covariance_b).abs().mean()


def compare_similarities(a: Tensor, b: Tensor) -> Tensor:
    """Return the difference of the distances within a and within b, each column over its sum."""
    within_a, within_b = cosine(a, a), cosine(b, b)
    return (within_a / within_a.sum(0) - within_b / within_b.sum(0)).abs().mean() * len(a)


def strotss(task: Task) -> Run:
    """Run ``run_st`` with a content weight of 1."""
    run, net = Run(), Network(task.parameters, task.flavour, reads="torchvision")
    draw, weights = torch.Generator().manual_seed(task.seed), task.loss_weights
    centre, resample = (0.5, tensorflow_bilinear) if "corners" in task.leave_out else (0.0, resize)

    def extract(picture: Tensor) -> list[Tensor]:
        return [picture, *net(net.preprocess(picture), RELUS)]

    image = torch.zeros(1, 3, 1, 1)
    for k, (size, steps) in enumerate(zip(task.sizes, task.steps, strict=True)):
        content, style = (shrink(to_tensor(pixels), size) for pixels in (task.content, task.style))
        height, width = content.shape[2:]
        is_last = k == len(task.sizes) - 1
        if k == 0:
            image = style.mean((2, 3), keepdim=True) + find_details(content)
        else:
            image = tensorflow_bilinear(image, (height, width)) + (0 if is_last else find_details(content))
        content_maps, style_maps = extract(content), extract(style)
        samples = []
        for _ in range(5):
            pixels = torch.randperm(style.shape[2] * style.shape[3], generator=draw)[:1000]
            y, x = pixels // style.shape[3], pixels % style.shape[3]
            samples.append(read(style_maps, y.double(), x.double(), nearest=True))
        target = torch.cat(samples)
        a = 16 / 2**k
        levels = [level.clone().requires_grad_() for level in decompose(image, 5, resample)]
        optimiser = optim.RMSprop(levels, lr=1e-3 if is_last else 2e-3)
        apart = [max(rounding(math.sqrt(height * width // 128**2)), 1) for rounding in (math.floor, math.ceil)]

        def loss(image: Tensor, target=target, maps=content_maps, a=a, apart=apart) -> Tensor:
            rows, columns = (torch.arange(side)[::step] for side, step in zip(image.shape[2:], apart, strict=True))
            # Rows and columns are shuffled apart, so that any pair of them can come.
            count = len(rows) * len(columns)
            y, x = (
                values[torch.randperm(count, generator=draw)[:1024]].double()
                for values in (rows.repeat(len(columns)), columns.repeat_interleave(len(rows)))
            )
            moved, still = (read(features, y, x, centre=centre) for features in (extract(image), maps))
            palette = compare_colours(moved[:, :3], target[:, :3]) / max(a, 1)
            style = weights["style"] * relax(cosine(moved, target)) + weights["palette"] * palette
            style = style + weights["moments"] * compare_moments(moved, target)
            return (a * weights["content"] * compare_similarities(moved, still) + style) / (a + 2)

        closure = make_closure(optimiser, levels, lambda levels, loss=loss: loss(compose(levels, resample)), run.losses)
        for _ in range(steps):
            image = compose(levels, resample).detach()  # the program keeps what its last evaluation sees
            optimiser.step(closure)
    run.picture = to_picture(image)
    return run
