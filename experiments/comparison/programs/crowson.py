"""Crowson's style-transfer-pytorch at commit e7e2c71: ``style_transfer.py`` and ``sqrtm.py``."""

import torch
from torch import Tensor, optim
from torch.nn import functional

from programs.optimisers import make_closure
from programs.pictures import BICUBIC, fit, pillow, to_picture, to_tensor
from programs.task import Run, Task
from programs.vgg import RELUS, Network, flatten, gram

STYLE_WEIGHTS = (256, 64, 16, 4, 1)


class Root(torch.autograd.Function):
    """Square root of a positive matrix by twelve Newton-Schulz steps, and its gradient by as many."""

    @staticmethod
    def forward(ctx, matrix):
        """Return the root."""
        norm, identity = matrix.norm(), torch.eye(len(matrix))
        root, inverse = matrix / norm, identity
        for _ in range(12):
            middle = (3 * identity - inverse @ root) / 2
            root, inverse = root @ middle, middle @ inverse
        root = root * norm.sqrt()
        ctx.save_for_backward(root)
        return root

    @staticmethod
    def backward(ctx, gradient):
        """Return the gradient with respect to the matrix, the solution of a Lyapunov equation."""
        (root,) = ctx.saved_tensors
        norm, identity = root.norm(), torch.eye(len(root))
        sign, solution = root / norm, gradient / norm
        for _ in range(12):
            middle = 3 * identity - sign @ sign
            solution = (solution @ middle - sign.T @ (sign.T @ solution - solution @ sign)) / 2
            sign = sign @ middle / 2
        return solution / 2


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the covariance of a map's features, with 1e-4 added to the variances."""
    mean = flatten(x).mean(1)
    return mean, gram(x) - torch.outer(mean, mean) + 1e-4 * torch.eye(len(mean))


def wasserstein(x: Tensor, mean: Tensor, covariance: Tensor, root: Tensor) -> Tensor:
    """Return the squared Wasserstein-2 distance of a map's Gaussian from the target's, per channel."""
    mean_x, covariance_x = moments(x)
    mixed = Root.apply(root @ covariance_x @ root)
    return ((mean_x - mean) ** 2).mean() + (covariance + covariance_x - 2 * mixed).diagonal().mean()


def total_variation(image: Tensor) -> Tensor:
    """Return the squared differences of nine points."""
    p = functional.pad(image, (1, 1, 1, 1), "replicate")
    inner = p[..., 1:-1, 1:-1]
    sides = (p[..., 1:-1, 2:] - inner).pow(2).mean() + (p[..., 2:, 1:-1] - inner).pow(2).mean()
    corners = (p[..., 1:, 1:] - p[..., :-1, :-1]).pow(2).mean() + (p[..., 1:, :-1] - p[..., :-1, 1:]).pow(2).mean()
    return 2 * (sides / 3 + corners / 12)


def scale_adam(state: dict, shape: tuple[int, int]) -> dict:
    """Return Adam's state for a picture of another size; the number of steps stays."""
    for moment in state["state"].values():
        moment["exp_avg"] = functional.interpolate(moment["exp_avg"], shape, mode="bicubic")
        moment["exp_avg_sq"] = functional.interpolate(moment["exp_avg_sq"], shape, mode="bilinear").relu()
    return state


def style_transfer_pytorch(task: Task) -> Run:
    """Run ``StyleTransfer.stylize`` with its defaults."""
    run, net = Run(), Network(task.parameters, task.flavour, reads="torchvision", padding="first-replicate")
    state, averaged = None, None
    for size, steps in zip(task.sizes, task.steps, strict=True):
        shape = fit(task.content, size, side="long", rounding=round)
        content = to_tensor(pillow(task.content, shape, BICUBIC))
        style_size = min(size, max(task.style.shape[:2]))  # a style is not enlarged
        style = to_tensor(pillow(task.style, fit(task.style, style_size, side="long", rounding=round), BICUBIC))
        before = content if averaged is None else averaged
        image = functional.interpolate(before, shape, mode="bicubic").clamp(0, 1).requires_grad_()
        total, weight = 0.01 * image.detach(), 0.01  # the average begins with the start
        (content_target,) = net(net.preprocess(content), ["relu4_2"])
        targets = [(*moments(x), Root.apply(moments(x)[1])) for x in net(net.preprocess(style), RELUS)]

        def loss(image: Tensor, content_target=content_target, targets=targets) -> Tensor:
            relu4_2, *relus = net(net.preprocess(image), ["relu4_2", *RELUS])
            style = sum(
                w / sum(STYLE_WEIGHTS) * wasserstein(x, *target)
                for w, x, target in zip(STYLE_WEIGHTS, relus, targets, strict=True)
            )
            return (
                task.loss_weights["content"] * functional.mse_loss(relu4_2, content_target)
                + task.loss_weights["style"] * style
                + task.loss_weights["tv"] * total_variation(image)
            )

        optimiser = optim.Adam([image], lr=0.02, betas=(0.9, 0.99))
        if state is not None:
            optimiser.load_state_dict(scale_adam(state, shape))
        closure = make_closure(optimiser, image, loss, run.losses)
        for _ in range(steps):
            optimiser.step(closure)
            with torch.no_grad():
                image.clamp_(0, 1)
                total, weight = 0.99 * total + 0.01 * image, 0.99 * weight + 0.01
        state, averaged = optimiser.state_dict(), total / weight
        run.picture = to_picture(averaged)
    return run
