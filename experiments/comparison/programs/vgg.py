"""VGG19 in PyTorch, reading pictures in the format that a program feeds."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from programs.task import Parameters

RELUS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")

_FORMATS = {  # order of the channels, factor on a picture in [0, 1], divisor
    "caffe": ("BGR", 255.0, (1.0, 1.0, 1.0)),
    "mat": ("RGB", 255.0, (1.0, 1.0, 1.0)),
    "torchvision": ("RGB", 1.0, (0.229, 0.224, 0.225)),
}
_TRAINED = {  # mean and divisor in RGB order, on the [0, 1] scale times the factor
    "caffe": (255.0, (123.68, 116.779, 103.939), (1.0, 1.0, 1.0)),
    "torchvision": (1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


class Network:
    """A VGG19 whose first kernel is converted to a program's format: it sees what the flavour's network would see.

    Args:
        parameters: the weights.
        flavour: the pictures that they were trained for.
        reads: the format of the program's pictures: "caffe" (BGR, 0-255, less the mean), "mat" (the same in RGB) or
            "torchvision" (RGB, normalised). The mean is that of the flavour.
        pooling: "max" or "average".
        ceil: whether pooling keeps an odd last row or column, as in Caffe, in Lua and with TensorFlow's SAME.
        padding: padding mode of the convolutions; "first-replicate" repeats the edge at the first one alone.
    """

    def __init__(
        self,
        parameters: Parameters,
        flavour: str,
        *,
        reads: str,
        pooling: str = "max",
        ceil: bool = False,
        padding: str = "constant",
    ):
        self.order, self.factor, divisor = _FORMATS[reads]
        scale, mean, deviation = (np.asarray(number, np.float64) for number in _TRAINED[flavour])
        self.mean = self._to_tensor(mean / scale * self.factor)
        self.deviation = self._to_tensor(divisor)
        kernels = {name: np.asarray(kernel, np.float64) for name, (kernel, _) in parameters.items()}
        by_colour = scale * np.asarray(divisor) / (self.factor * deviation)  # in RGB order
        kernel = kernels["block1_conv1"]
        rgb = kernel[:, :, ::-1] if flavour == "caffe" else kernel
        rgb = rgb * by_colour[:, None]
        kernels["block1_conv1"] = rgb[:, :, ::-1] if self.order == "BGR" else rgb
        self.layers = [
            (
                name,
                torch.from_numpy(np.ascontiguousarray(kernels[name].transpose(3, 2, 0, 1), np.float32)),
                torch.from_numpy(np.array(bias, np.float32)),
            )
            for name, (_, bias) in parameters.items()
        ]
        self.pooling, self.ceil, self.padding = pooling, ceil, padding

    def _to_tensor(self, colour) -> Tensor:
        colour = torch.tensor(np.array(colour)[::-1].copy() if self.order == "BGR" else colour, dtype=torch.float32)
        return colour.view(1, 3, 1, 1)

    def preprocess(self, picture: Tensor) -> Tensor:
        """Return a picture [1, 3, H, W] in RGB and [0, 1] in the program's format."""
        picture = picture.flip(1) if self.order == "BGR" else picture
        return (self.factor * picture - self.mean) / self.deviation

    def deprocess(self, image: Tensor) -> Tensor:
        """Return the picture in RGB on the [0, 1] scale; the inverse of ``preprocess``."""
        picture = (image * self.deviation + self.mean) / self.factor
        return picture.flip(1) if self.order == "BGR" else picture

    def __call__(self, image: Tensor, names) -> list[Tensor]:
        """Return the features of these names: "conv1_1" before the ReLU, "relu1_1" after it."""
        features, last = {}, max(name[-3:] for name in names)
        for name, kernel, bias in self.layers:
            block, index = name[5], name[-1]
            if index == "1" and block != "1":
                pool = functional.max_pool2d if self.pooling == "max" else functional.avg_pool2d
                image = pool(image, 2, 2, ceil_mode=self.ceil)
            mode = self.padding
            if mode == "first-replicate":
                mode = "replicate" if name == "block1_conv1" else "constant"
            before = functional.conv2d(functional.pad(image, (1, 1, 1, 1), mode=mode), kernel, bias)
            image = functional.relu(before)
            features |= {f"conv{block}_{index}": before, f"relu{block}_{index}": image}
            if f"{block}_{index}" == last:
                break
        return [features[name] for name in names]


def flatten(x: Tensor) -> Tensor:
    """Return a map [1, C, H, W] as [C, H W]."""
    return x.flatten(2)[0]


def gram(x: Tensor) -> Tensor:
    """Return ``F F^T / N``."""
    return flatten(x) @ flatten(x).T / flatten(x).shape[1]


def gram_per_element(x: Tensor) -> Tensor:
    """Return ``F F^T / (C N)``."""
    return flatten(x) @ flatten(x).T / x.numel()
