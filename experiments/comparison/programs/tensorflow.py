"""TensorFlow: its tutorial, Keras's example, neural-style by Athalye (d0a1148), neural-style-tf by Smith (a2c374f)."""

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor
from torch.nn import functional

from programs.optimisers import tensorflow_adam
from programs.pictures import BICUBIC, NEAREST, area, fit, pillow, tensorflow_bilinear, to_picture, to_tensor
from programs.task import Run, Task
from programs.vgg import RELUS, Network, flatten, gram, gram_per_element


def absolute_variation(image: Tensor) -> Tensor:
    """Return ``tf.image.total_variation``."""
    down, across = image[..., 1:, :] - image[..., :-1, :], image[..., 1:] - image[..., :-1]
    return down.abs().sum() + across.abs().sum()


def tensorflow_tutorial(task: Task) -> Run:
    """Run the tutorial's second run; its picture is in [0, 1], and preprocessed inside the model."""
    run, net = Run(), Network(task.parameters, task.flavour, reads="caffe")
    (size,), (steps,) = task.sizes, task.steps
    content, style = (
        tensorflow_bilinear(to_tensor(pixels), fit(pixels, size, side="long")) for pixels in (task.content, task.style)
    )
    (content_target,) = net(net.preprocess(content), ["relu5_2"])
    targets = [gram(x) for x in net(net.preprocess(style), RELUS)]

    def loss(image: Tensor) -> Tensor:
        relu5_2, *relus = net(net.preprocess(image), ["relu5_2", *RELUS])
        style = sum(functional.mse_loss(gram(x), t) for x, t in zip(relus, targets, strict=True)) / len(RELUS)
        return (
            task.loss_weights["style"] * style
            + task.loss_weights["content"] * functional.mse_loss(relu5_2, content_target)
            + task.loss_weights["tv"] * absolute_variation(image)
        )

    image = content.clone()
    tensorflow_adam(
        image, loss, run.losses, steps, rate=0.02, beta1=0.99, epsilon=0.1, clip=(torch.zeros(()), torch.ones(()))
    )
    run.picture = to_picture(image)
    return run


def keras_example(task: Task) -> Run:
    """Run Keras's example: gradient descent with an exponentially falling rate, both pictures of one size."""
    run, net = Run(), Network(task.parameters, task.flavour, reads="caffe")
    (size,), (steps,) = task.sizes, task.steps
    height, width, _ = task.content.shape
    shape = style_shape = size, int(width * size / height)
    if "distortion" in task.leave_out:
        style_shape = size, int(task.style.shape[1] * size / task.style.shape[0])
    content, style = (
        net.preprocess(to_tensor(pillow(pixels, shape, NEAREST)))
        for pixels, shape in ((task.content, shape), (task.style, style_shape))
    )
    (content_target,) = net(content, ["relu5_2"])
    targets = [flatten(x) @ flatten(x).T for x in net(style, RELUS)]

    def loss(image: Tensor) -> Tensor:
        relu5_2, *relus = net(image, ["relu5_2", *RELUS])
        style = 0
        for x, target in zip(relus, targets, strict=True):
            difference = target - flatten(x) @ flatten(x).T
            style = style + (difference**2).sum() / (4 * 3**2 * (shape[0] * shape[1]) ** 2) / len(RELUS)
        down = (image[..., :-1, :-1] - image[..., 1:, :-1]) ** 2
        across = (image[..., :-1, :-1] - image[..., :-1, 1:]) ** 2
        return (
            task.loss_weights["content"] * ((relu5_2 - content_target) ** 2).sum()
            + task.loss_weights["style"] * style
            + task.loss_weights["tv"] * ((down + across) ** 1.25).sum()
        )

    image = content.clone()
    for step in range(steps):
        image.requires_grad_()
        value = loss(image)
        (gradient,) = torch.autograd.grad(value, image)
        run.losses.append(value.item())
        image = (image - 100 * 0.96 ** (step / 100) * gradient).detach()
    run.picture = to_picture(net.deprocess(image))
    return run


def anishathalye(task: Task) -> Run:
    """Run ``neural_style.py`` and ``stylize.py`` with their defaults: the style gets the content's width."""
    run, net = Run(), Network(task.parameters, task.flavour, reads="mat", ceil="ceil" not in task.leave_out)
    (steps,), weights = task.steps, task.loss_weights
    factor = task.content.shape[1] / task.style.shape[1]
    shape = int(task.style.shape[0] * factor), int(task.style.shape[1] * factor)
    content, style = (
        net.preprocess(to_tensor(task.content)),
        net.preprocess(to_tensor(pillow(task.style, shape, BICUBIC))),
    )
    (content_target,) = net(content, ["relu4_2"])
    targets = [gram_per_element(x) for x in net(style, RELUS)]

    def loss(image: Tensor) -> Tensor:
        relu4_2, *relus = net(image, ["relu4_2", *RELUS])
        style = sum(0.2 * functional.mse_loss(gram_per_element(x), t) for x, t in zip(relus, targets, strict=True))
        down, across = image[..., 1:, :] - image[..., :-1, :], image[..., 1:] - image[..., :-1]
        variation = (down**2).mean() + (across**2).mean()
        content = functional.mse_loss(relu4_2, content_target)
        return weights["content"] * content + weights["style"] * style + weights["tv"] * variation

    torch.manual_seed(task.seed)
    image = 0.256 * torch.randn(content.shape)
    run.start = to_picture(net.deprocess(image))
    tensorflow_adam(image, loss, run.losses, steps, rate=10)
    run.picture = to_picture(net.deprocess(image))
    return run


def neural_style_tf(task: Task) -> Run:
    """Run ``neural_style.py`` with its defaults: SciPy's L-BFGS-B, the style in the content's shape."""
    ceil = "ceil" not in task.leave_out
    run, net = Run(), Network(task.parameters, task.flavour, reads="mat", pooling="average", ceil=ceil)
    (size,), (steps,), weights = task.sizes, task.steps, task.loss_weights
    shape = fit(task.content, size, side="long")
    style_shape = fit(task.style, size, side="long") if "distortion" in task.leave_out else shape
    content, style = (
        net.preprocess(area(to_tensor(pixels), shape))
        for pixels, shape in ((task.content, shape), (task.style, style_shape))
    )
    (content_target,) = net(content, ["conv4_2"])
    targets = [gram(x) for x in net(style, RELUS)]

    def loss(image: Tensor) -> Tensor:
        conv4_2, *relus = net(image, ["conv4_2", *RELUS])
        style = 0
        for x, target in zip(relus, targets, strict=True):
            # 1 / (4 N^2 M^2) of the sum, for Gram matrices that are not divided by the area M.
            style = style + 0.2 * ((gram(x) - target) ** 2).sum() / (4 * len(target) ** 2)
        _, channels, height, width = conv4_2.shape
        content = ((conv4_2 - content_target) ** 2).sum() / (2 * channels**0.5 * (height * width) ** 0.5)
        variation = absolute_variation(image)
        return weights["content"] * content + weights["style"] * style / len(RELUS) + weights["tv"] * variation

    def evaluate(values: np.ndarray) -> tuple[float, np.ndarray]:
        image = torch.from_numpy(np.float32(values).reshape(content.shape)).requires_grad_()
        value = loss(image)
        (gradient,) = torch.autograd.grad(value, image)
        return value.item(), np.float64(gradient.numpy()).ravel()

    first = np.float64(content.numpy()).ravel()
    run.losses.append(evaluate(first)[0])
    result = minimize(
        evaluate,
        first,
        jac=True,
        method="L-BFGS-B",
        callback=lambda intermediate_result: run.losses.append(float(intermediate_result.fun)),
        options={"maxiter": steps},
    )
    run.picture = to_picture(net.deprocess(torch.from_numpy(np.float32(result.x).reshape(content.shape))))
    return run
