"""Heitz et al.'s sliced Wasserstein loss at commit 491ee6d: ``texture_optimization_slicing.py``."""

import torch
from torch import Tensor
from torch.nn import functional

from programs.optimisers import lbfgs
from programs.pictures import to_picture, to_tensor
from programs.task import Run, Task
from programs.vgg import Network, flatten

LAYERS = (
    *(f"relu1_{i}" for i in (1, 2)),
    *(f"relu2_{i}" for i in (1, 2)),
    *(f"relu3_{i}" for i in (1, 2, 3, 4)),
    *(f"relu4_{i}" for i in (1, 2, 3, 4)),
)


def sliced_wasserstein(task: Task) -> Run:
    """Run the program, with SCALING_FACTOR 1: a texture of the style's size; new directions at each evaluation."""
    run, net = Run(), Network(task.parameters, task.flavour, reads="caffe", pooling="average", padding="reflect")
    (steps,) = task.steps
    height, width = (length // 8 * 8 for length in task.style.shape[:2])
    style = to_tensor(task.style)[..., :height, :width]
    torch.manual_seed(task.seed)
    image = style.mean((2, 3), keepdim=True) + 0.01 * torch.randn(style.shape)
    run.start = to_picture(image)
    targets = [flatten(x) for x in net(net.preprocess(style), LAYERS)]

    def loss(image: Tensor) -> Tensor:
        value = torch.zeros(())
        for x, target in zip(net(net.preprocess(image), LAYERS), targets, strict=True):
            directions = functional.normalize(torch.randn(len(target), len(target)), dim=1)
            sorted_target, sorted_x = ((directions @ rows).sort(1)[0] for rows in (target, flatten(x)))
            value = value + ((sorted_target - sorted_x) ** 2).mean()
        return task.loss_weights["style"] * value

    lbfgs(image, loss, run.losses, steps, max_iter=min(64, steps), tolerance_grad=0.0)
    run.picture = to_picture(image)
    return run
