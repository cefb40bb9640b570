"""Tutorials of which there is a text or a listing, but no program to run: Adam from the content."""

import torch
from torch import Tensor
from torch.nn import functional

from programs.optimisers import tensorflow_adam
from programs.pictures import LANCZOS, fit, pillow, to_picture, to_tensor
from programs.task import Run, Task
from programs.vgg import RELUS, Network, gram, gram_per_element


def prepare(task: Task, net: Network) -> tuple[Tensor, Tensor]:
    """Return the content and the style; the texts do not say how they are resized."""
    content, style = (
        net.preprocess(to_tensor(pillow(pixels, fit(pixels, task.sizes[0], side="long", rounding=round), LANCZOS)))
        for pixels in (task.content, task.style)
    )
    return content, style


def clip_range(net: Network) -> tuple[Tensor, Tensor]:
    """Return the program's values of black and white."""
    return -net.mean, 255 - net.mean


def tutorial(task: Task) -> Run:
    """Run the fifty iterations of the text; the result is the picture whose loss was lowest."""
    run, net = Run(), Network(task.parameters, task.flavour, reads="caffe")
    content, style = prepare(task, net)
    layers = ["relu1_1", "relu3_1", "relu5_1"]
    (content_target,) = net(content, ["relu5_2"])
    targets = [gram(x) for x in net(style, layers)]
    seen: list[Tensor] = []

    def loss(image: Tensor) -> Tensor:
        seen.append(image.detach().clone())
        relu5_2, *features = net(image, ["relu5_2", *layers])
        style = sum(functional.mse_loss(gram(x), t) for x, t in zip(features, targets, strict=True)) / len(layers)
        content = functional.mse_loss(relu5_2, content_target)
        return task.loss_weights["content"] * content + task.loss_weights["style"] * style

    image = content.clone()
    tensorflow_adam(image, loss, run.losses, task.steps[0], rate=0.7, epsilon=1e-7, clip=clip_range(net))
    run.picture = to_picture(net.deprocess(seen[run.losses.index(min(run.losses))]))
    return run


def tutorial_literal(task: Task) -> Run:
    """Run the fifty iterations of the listing: the style cost twice, and the picture after the best one's update."""
    run, net = Run(), Network(task.parameters, task.flavour, reads="caffe")
    content, style = prepare(task, net)
    layers = ["relu1_1", "relu3_1", "relu5_1"]
    targets = [gram(x) for x in net(style, layers)]
    seen: list[Tensor] = []

    def loss(image: Tensor) -> Tensor:
        seen.append(image.detach().clone())
        features = net(image, layers)
        losses = [functional.mse_loss(gram(x), t) for x, t in zip(features, targets, strict=True)]
        style = torch.stack(losses).mean()
        return (task.loss_weights["content"] + task.loss_weights["style"]) * style

    image = content.clone()
    tensorflow_adam(image, loss, run.losses, task.steps[0], rate=0.7, epsilon=1e-7, clip=clip_range(net))
    run.picture = to_picture(net.deprocess([*seen, image][run.losses.index(min(run.losses)) + 1]))
    return run


def long_run(task: Task) -> Run:
    """Run the recipe, with the preset's choices where the text leaves them open."""
    run, net = Run(), Network(task.parameters, task.flavour, reads="caffe")
    content, style = prepare(task, net)
    (content_target,) = net(content, ["relu5_2"])
    targets = [gram_per_element(x) for x in net(style, RELUS)]

    def loss(image: Tensor) -> Tensor:
        relu5_2, *relus = net(image, ["relu5_2", *RELUS])
        style = sum(functional.mse_loss(gram_per_element(x), t) for x, t in zip(relus, targets, strict=True))
        down, across = image[..., 1:, :] - image[..., :-1, :], image[..., 1:] - image[..., :-1]
        return (
            task.loss_weights["content"] * ((relu5_2 - content_target) ** 2).sum() / 2
            + task.loss_weights["style"] * style / len(RELUS)
            + task.loss_weights["tv"] * ((down**2).sum() + (across**2).sum())
        )

    image = content.clone()
    tensorflow_adam(image, loss, run.losses, task.steps[0], rate=0.255, epsilon=255e-8)
    run.picture = to_picture(net.deprocess(image))
    return run
