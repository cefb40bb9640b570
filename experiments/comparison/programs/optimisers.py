"""Loops around optimisers, as the programs write them."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, optim

Loss = Callable[[Tensor], Tensor]


def make_closure(
    optimiser: optim.Optimizer, image: Any, loss: Callable[[Any], Tensor], losses: list[float]
) -> Callable[[], Tensor]:
    """Return the function that evaluates the loss of the image and its gradient, and appends the loss to ``losses``."""

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = loss(image)
        value.backward()
        losses.append(value.item())
        return value

    return closure


def lbfgs(image: Tensor, loss: Loss, losses: list[float], steps: int, **options) -> None:
    """Run PyTorch's L-BFGS in rounds of ``max_iter`` (20 by default), as ``while count < steps: optimiser.step()``."""
    image.requires_grad_()
    optimiser, first = optim.LBFGS([image], **options), len(losses)
    closure = make_closure(optimiser, image, loss, losses)
    while len(losses) < first + steps:
        optimiser.step(closure)


def tensorflow_adam(
    image: Tensor,
    loss: Loss,
    losses: list[float],
    steps: int,
    *,
    rate: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    clip: tuple[Tensor, Tensor] | None = None,
) -> None:
    """Run TensorFlow's Adam, which adds epsilon before it corrects the second moment's bias."""
    mean, square = torch.zeros_like(image), torch.zeros_like(image)
    for step in range(1, steps + 1):
        image.requires_grad_()
        value = loss(image)
        (gradient,) = torch.autograd.grad(value, image)
        losses.append(value.item())
        with torch.no_grad():
            mean += (1 - beta1) * (gradient - mean)
            square += (1 - beta2) * (gradient**2 - square)
            corrected = rate * math.sqrt(1 - beta2**step) / (1 - beta1**step)
            image -= corrected * mean / (square.sqrt() + epsilon)
            if clip:
                image.clamp_(*clip)
