"""pystiche's example "Neural Style Transfer with pystiche" at commit 71217c2."""

from torch import Tensor
from torch.nn import functional

from programs.optimisers import lbfgs
from programs.pictures import BILINEAR, fit, pillow, to_picture, to_tensor
from programs.task import Run, Task
from programs.vgg import RELUS, Network, gram


def pystiche(task: Task) -> Run:
    """Run the example: each call of the optimiser makes one step."""
    run, net = Run(), Network(task.parameters, task.flavour, reads="torchvision")
    (size,), (steps,) = task.sizes, task.steps
    content, style = (
        to_tensor(pillow(pixels, fit(pixels, size, side="short", rounding=round), BILINEAR))
        for pixels in (task.content, task.style)
    )
    (content_target,) = net(net.preprocess(content), ["relu4_2"])
    targets = [gram(x) for x in net(net.preprocess(style), RELUS)]

    def loss(image: Tensor) -> Tensor:
        relu4_2, *relus = net(net.preprocess(image), ["relu4_2", *RELUS])
        style = sum(functional.mse_loss(gram(x), t) / len(RELUS) for x, t in zip(relus, targets, strict=True))
        content = functional.mse_loss(relu4_2, content_target)
        return task.loss_weights["content"] * content + task.loss_weights["style"] * style

    image = content.clone()
    lbfgs(image, loss, run.losses, steps, max_iter=1)
    run.picture = to_picture(image)
    return run
