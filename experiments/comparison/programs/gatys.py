"""Gatys' PyTorch notebook, and the notebooks of NeuralImageSynthesis at commit cced0b9."""

import math

import numpy as np
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional

from programs.optimisers import lbfgs
from programs.pictures import BILINEAR, fit, pillow, tensorflow_bilinear, to_picture, to_tensor
from programs.task import Run, Task
from programs.vgg import RELUS, Network, gram

WIDTHS = (64, 128, 256, 512, 512)


def optimise(
    net: Network, run: Run, task: Task, images: tuple[Tensor, Tensor, Tensor], steps: int, **options
) -> Tensor:
    """Run L-BFGS at one size, and return the picture that the last evaluation sees; the loss is that of both programs.

    Args:
        net: the network.
        run: gets the losses.
        task: the task, for its loss weights.
        images: the picture to be moved, the content and the style, in the program's format.
        steps: number of evaluations.
        options: those of L-BFGS.
    """
    image, content, style = images
    (content_target,) = net(content, ["relu4_2"])
    targets, seen = [gram(x) for x in net(style, RELUS)], image.clone()

    def loss(image: Tensor) -> Tensor:
        seen.copy_(image.detach())
        relu4_2, *relus = net(image, ["relu4_2", *RELUS])
        layers = zip(relus, targets, WIDTHS, strict=True)
        style = sum(functional.mse_loss(gram(x), t) / width**2 for x, t, width in layers)
        content = functional.mse_loss(relu4_2, content_target)
        return task.loss_weights["style"] * style + task.loss_weights["content"] * content

    lbfgs(image, loss, run.losses, steps, **options)
    return seen


def to_bytes(picture: np.ndarray) -> np.ndarray:
    """Return a picture in 8 bits, rounded down as torchvision does."""
    return (255 * picture).astype(np.uint8)


def gatys_pytorch(task: Task) -> Run:
    """Run ``NeuralStyleTransfer.ipynb``: rounds of 20 at the first size, then from its enlarged 8-bit result."""
    run, net = Run(), Network(task.parameters, task.flavour, reads="caffe")

    def prepare(pixels: np.ndarray, size: int) -> Tensor:
        return net.preprocess(to_tensor(pillow(pixels, fit(pixels, size, side="short"), BILINEAR)))

    for size, steps in zip(task.sizes, task.steps, strict=True):
        before = task.content if run.picture is None else to_bytes(run.picture)
        image, content, style = (prepare(pixels, size) for pixels in (before, task.content, task.style))
        optimise(net, run, task, (image, content, style), steps)
        run.picture = to_picture(net.deprocess(image))
    return run


def pyramid_reduce(pixels: np.ndarray, size: int) -> Tensor:
    """Reduce to ``size`` squared pixels as scikit-image does: a Gaussian, then bilinear interpolation."""
    factor = math.sqrt(pixels.shape[0] * pixels.shape[1] / size**2)
    if factor <= 1:
        return to_tensor(pixels)
    picture = pixels.astype(np.float32) / 255
    blurred = np.stack([gaussian_filter(channel, 2 * factor / 6) for channel in np.moveaxis(picture, 2, 0)], axis=-1)
    height, width = (math.ceil(length / factor - 1e-9) for length in pixels.shape[:2])
    return tensorflow_bilinear(to_tensor(blurred), (height, width))


def gatys_controls(task: Task) -> Run:
    """Run ``BasicStyleTransfer.ipynb`` and ``ImageSynthesis.lua``: the picture is the one that is evaluated last.

    The first result goes through a file (JPEG in the source, without loss here), and is enlarged in 8 bits.
    """
    run, net = Run(), Network(task.parameters, task.flavour, reads="caffe", ceil="ceil" not in task.leave_out)
    for size, steps in zip(task.sizes, task.steps, strict=True):
        content, style = (net.preprocess(pyramid_reduce(pixels, size)) for pixels in (task.content, task.style))
        image = content.clone()
        if run.picture is not None:
            enlarged = pillow(
                np.rint(255 * run.picture).astype(np.uint8), (content.shape[2], content.shape[3]), BILINEAR
            )
            image = net.preprocess(to_tensor(enlarged))
        options = {"max_iter": steps, "tolerance_change": -1, "tolerance_grad": -1}
        seen = optimise(net, run, task, (image, content, style), steps, **options)
        run.picture = to_picture(net.deprocess(seen))
    return run
