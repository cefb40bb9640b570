"""VGG19 in float64 PyTorch, how other systems prepare pictures for it, and Gram matrices of its maps."""

import numpy as np
import torch
from references import given
from torch.nn import functional


def network(x, *, pooling="max", ceil=False, padding="constant", rgb=False):
    """{"conv1_1": before the ReLU, "relu1_1": after it, …} of a batch [1, 3, H, W] that is preprocessed already.

    Args:
        x: in the weights' own order of channels, or, with ``rgb``, in RGB where they want BGR.
        pooling: "max" or "average".
        ceil: whether pooling keeps an odd last row or column, as Caffe's and TensorFlow's SAME do.
        padding: of the first convolution.
        rgb: whether the weights are a conversion whose first kernel was turned to read RGB.
    """
    found = {}
    for name, (kernel, bias) in given.parameters().items():
        block, index = int(name[5]), int(name[-1])
        kernel = torch.tensor(kernel.astype(np.float64)).permute(3, 2, 0, 1)
        if rgb and name == "block1_conv1":
            kernel = kernel.flip(1)
        if index == 1 and block > 1:
            pool = functional.max_pool2d if pooling == "max" else functional.avg_pool2d
            x = pool(x, 2, 2, ceil_mode=ceil)
        x = functional.pad(x, (1, 1, 1, 1), mode=padding if name == "block1_conv1" else "constant")
        found[f"conv{block}_{index}"] = functional.conv2d(x, kernel, torch.tensor(bias.astype(np.float64)))
        found[f"relu{block}_{index}"] = x = functional.relu(found[f"conv{block}_{index}"])
    return found


def batch(picture):
    return picture.permute(2, 0, 1)[None]


def caffe_bgr(picture):
    """255 times the picture, as BGR, less the mean pixel, as Caffe's models want it."""
    return 255 * batch(picture).flip(1) - torch.tensor([103.939, 116.779, 123.68], dtype=torch.float64).view(1, 3, 1, 1)


def mat_rgb(picture):
    """255 times the picture less the mean pixel, as RGB: for imagenet-vgg-verydeep-19.mat."""
    return 255 * batch(picture) - torch.tensor([123.68, 116.779, 103.939], dtype=torch.float64).view(1, 3, 1, 1)


def torchvision_rgb(picture):
    mean, std = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    mean, std = (torch.tensor(it, dtype=torch.float64).view(1, 3, 1, 1) for it in (mean, std))
    return (batch(picture) - mean) / std


def flat(x):
    _, channels, height, width = x.shape
    return x.reshape(channels, height * width)


def gram_by_elements(x):
    return flat(x) @ flat(x).T / x.numel()


def gram_by_positions(x):
    return flat(x) @ flat(x).T / (x.shape[2] * x.shape[3])
