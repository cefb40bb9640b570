"""Johnson's neural-style at commit 07c4b82, and ProGamerGov's neural-style-pt at commit 7251405."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from programs.optimisers import lbfgs
from programs.pictures import BILINEAR, area, fit, pillow, to_picture, to_tensor
from programs.task import Run, Task
from programs.vgg import RELUS, Network, gram_per_element


class SquaredVariation(torch.autograd.Function):
    """The gradient that neural-style adds for total variation; the value is 0."""

    @staticmethod
    def forward(ctx, image, strength):
        """Return 0."""
        ctx.save_for_backward(image)
        ctx.strength = strength
        return image.new_zeros(())

    @staticmethod
    def backward(ctx, gradient):
        """Return the differences of all pixels but those of the last row and column."""
        (image,) = ctx.saved_tensors
        across = image[..., :-1, :-1] - image[..., :-1, 1:]
        down = image[..., :-1, :-1] - image[..., 1:, :-1]
        result = torch.zeros_like(image)
        result[..., :-1, :-1] += across + down
        result[..., :-1, 1:] -= across
        result[..., 1:, :-1] -= down
        return gradient * ctx.strength * result, None


def absolute_variation(image: Tensor, strength: float) -> Tensor:
    """Return the weighted sum of absolute differences."""
    down, across = image[..., 1:, :] - image[..., :-1, :], image[..., 1:] - image[..., :-1]
    return strength * (down.abs().sum() + across.abs().sum())


def optimise(task: Task, net: Network, content: Tensor, style: Tensor, variation, *, scale: float) -> Run:
    """Run L-BFGS from noise for a number of evaluations; the picture is the one that the last of them sees.

    Args:
        task: the task.
        net: the network.
        content: the content in the program's format.
        style: the style in the program's format.
        variation: the total variation.
        scale: what the program multiplies a picture in [0, 1] by.
    """
    run, weights = Run(), task.loss_weights
    (content_target,) = net(content, ["relu4_2"])
    targets = [gram_per_element(x) for x in net(style, RELUS)]
    torch.manual_seed(task.seed)
    image = 0.001 * torch.randn(content.shape)
    run.start = to_picture(((image + net.mean) / scale).flip(1))

    def loss(image: Tensor) -> Tensor:
        run.picture = to_picture(((image + net.mean) / scale).flip(1))
        relu4_2, *relus = net(image, ["relu4_2", *RELUS])
        style = sum(functional.mse_loss(gram_per_element(x), t) for x, t in zip(relus, targets, strict=True))
        value = weights["content"] * functional.mse_loss(relu4_2, content_target) + weights["style"] * style
        return value + variation(image, weights["tv"])

    (steps,) = task.steps
    lbfgs(image, loss, run.losses, steps, max_iter=steps, tolerance_change=-1, tolerance_grad=-1)
    return run


def neural_style_pt(task: Task) -> Run:
    """Run ``neural_style.py`` with its defaults; may leave out "floor", the rounding of the sides."""
    net = Network(task.parameters, task.flavour, reads="caffe")
    rounding = round if "floor" in task.leave_out else math.floor
    content, style = (
        net.preprocess(to_tensor(pillow(pixels, fit(pixels, task.sizes[0], side="long", rounding=rounding), BILINEAR)))
        for pixels in (task.content, task.style)
    )
    return optimise(task, net, content, style, absolute_variation, scale=255)


def neural_style(task: Task) -> Run:
    """Run ``neural_style.lua`` with its defaults.

    The L-BFGS of torch/optim makes the steps of PyTorch's, which was made after it. May leave out "256" for 255,
    "variation", the gradient without a value, for a value with this gradient, and "ceil".
    """
    net = Network(task.parameters, task.flavour, reads="caffe", ceil="ceil" not in task.leave_out)
    scale = 255 if "256" in task.leave_out else 256

    def prepare(pixels):
        shape = fit(pixels, task.sizes[0], side="long")
        return scale * area(to_tensor(pixels), shape).flip(1) - net.mean

    def squared_variation(image: Tensor, strength: float) -> Tensor:
        across = image[..., :-1, :-1] - image[..., :-1, 1:]
        down = image[..., :-1, :-1] - image[..., 1:, :-1]
        return strength * (across**2 + down**2).sum() / 2

    variation = squared_variation if "variation" in task.leave_out else SquaredVariation.apply
    return optimise(task, net, prepare(task.content), prepare(task.style), variation, scale=scale)
