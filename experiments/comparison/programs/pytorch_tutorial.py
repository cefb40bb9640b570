"""PyTorch's tutorial "Neural Transfer Using PyTorch"."""

import torch
from torch import Tensor
from torch.nn import functional

from programs.optimisers import lbfgs
from programs.pictures import BILINEAR, fit, pillow, to_picture, to_tensor
from programs.task import Run, Task
from programs.vgg import Network, gram_per_element

STYLE_LAYERS = ("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1")


def pytorch_tutorial(task: Task) -> Run:
    """Run the tutorial: rounds of 20, the picture clamped whenever the loss is evaluated, unknown to the optimiser.

    May leave out "clamp" until the end.
    """
    run, net = Run(), Network(task.parameters, task.flavour, reads="torchvision")
    (size,), (steps,) = task.sizes, task.steps
    content, style = (
        to_tensor(pillow(pixels, fit(pixels, size, side="short"), BILINEAR)) for pixels in (task.content, task.style)
    )
    (content_target,) = net(net.preprocess(content), ["conv2_2"])
    targets = [gram_per_element(x) for x in net(net.preprocess(style), STYLE_LAYERS)]

    def loss(image: Tensor) -> Tensor:
        if "clamp" not in task.leave_out:
            with torch.no_grad():
                image.clamp_(0, 1)
        features = net(net.preprocess(image), STYLE_LAYERS)
        style = sum(functional.mse_loss(gram_per_element(x), t) for x, t in zip(features, targets, strict=True))
        content = functional.mse_loss(features[STYLE_LAYERS.index("conv2_2")], content_target)
        return task.loss_weights["style"] * style + task.loss_weights["content"] * content

    image = content.clone()
    lbfgs(image, loss, run.losses, steps)
    run.picture = to_picture(image)
    return run
