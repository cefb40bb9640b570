"""Li and Wand's method as in pystiche/papers at commit a8a87f4, ``li_wand_2016`` with ``impl_params``."""

import torch
from torch import Tensor
from torch.nn import functional

from programs.optimisers import lbfgs
from programs.pictures import fit, to_picture, to_tensor
from programs.task import Run, Task
from programs.vgg import Network

LAYERS = ("relu3_1", "relu4_1")


class Shared(torch.autograd.Function):
    """The identity; the gradient at each position is divided by the number of patches that contain the position."""

    @staticmethod
    def forward(ctx, x):
        """Return the map."""
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        """Return the divided gradient."""
        ones = torch.ones_like(gradient[:, :1])
        count = functional.fold(functional.unfold(ones, 3, stride=2), tuple(gradient.shape[2:]), 3, stride=2)
        return gradient / count.clamp(min=1)


def cut_patches(x: Tensor) -> Tensor:
    """Return the 3x3 patches with stride 2 of a map, one in each row."""
    return functional.unfold(x, 3, stride=2)[0].T


def resize(picture: Tensor, size: int) -> Tensor:
    """Resize as today's torchvision resizes tensors."""
    shape = fit(picture[0].permute(1, 2, 0).numpy(), size, side="long", rounding=round)
    return functional.interpolate(picture, shape, mode="bilinear", align_corners=False, antialias=True)


def li_wand(task: Task) -> Run:
    """Run ``nst``: an optimiser of its own at each size, which begins with the enlarged result as it is."""
    run, net = Run(), Network(task.parameters, task.flavour, reads="caffe")
    content, style = (resize(to_tensor(pixels), task.sizes[-1]) for pixels in (task.content, task.style))
    picture = content
    for size, steps in zip(task.sizes, task.steps, strict=True):
        (content_target,) = net(net.preprocess(resize(content, size)), ["relu4_1"])
        targets = [cut_patches(x) for x in net(net.preprocess(resize(style, size)), LAYERS)]
        directions = [functional.normalize(target, dim=1) for target in targets]

        def loss(image: Tensor, content_target=content_target, targets=targets, directions=directions) -> Tensor:
            features = net(image, LAYERS)
            style = 0
            for x, target, direction in zip(features, targets, directions, strict=True):
                patches = cut_patches(Shared.apply(x))
                nearest = (functional.normalize(patches.detach(), dim=1) @ direction.T).argmax(1)
                style = style + ((patches - target[nearest]) ** 2).sum() / 2
            down = (image[..., 1:, :] - image[..., :-1, :])[..., :-1]
            across = (image[..., 1:] - image[..., :-1])[..., :-1, :]
            return (
                task.loss_weights["content"] * functional.mse_loss(features[1], content_target)
                + task.loss_weights["style"] * style
                + task.loss_weights["tv"] * (down**2 + across**2).sum() / 2
            )

        image = net.preprocess(resize(picture, size))
        lbfgs(image, loss, run.losses, steps, max_iter=1)
        picture = net.deprocess(image.detach())
    run.picture = to_picture(picture)
    return run
