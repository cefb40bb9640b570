"""VGG19 in float64 PyTorch, the preprocessing of other systems, and Gram matrices of feature maps."""

import numpy as np
import torch
from references import inputs
from torch.nn import functional


def vgg_features(x, *, pooling="max", ceil=False, padding="constant", rgb_kernel=False):
    """Return {"conv1_1": before the ReLU, "relu1_1": after it, …} for a preprocessed batch [1, 3, H, W].

    Args:
        x: channels in the order of the weights; with ``rgb_kernel``, in RGB.
        pooling: "max" or "average".
        ceil: whether pooling keeps an odd last row or column, as in Caffe and with TensorFlow's SAME.
        padding: padding mode of the first convolution.
        rgb_kernel: whether the weights are a conversion whose first kernel was flipped from BGR to RGB.
    """
    features = {}
    for name, (kernel, bias) in inputs.parameters().items():
        block, index = int(name[5]), int(name[-1])
        kernel = torch.tensor(kernel.astype(np.float64)).permute(3, 2, 0, 1)
        if rgb_kernel and name == "block1_conv1":
            kernel = kernel.flip(1)
        if index == 1 and block > 1:
            pool = functional.max_pool2d if pooling == "max" else functional.avg_pool2d
            x = pool(x, 2, 2, ceil_mode=ceil)
        x = functional.pad(x, (1, 1, 1, 1), mode=padding if name == "block1_conv1" else "constant")
        features[f"conv{block}_{index}"] = functional.conv2d(x, kernel, torch.tensor(bias.astype(np.float64)))
        features[f"relu{block}_{index}"] = x = functional.relu(features[f"conv{block}_{index}"])
    return features


def to_batch(picture):
    return picture.permute(2, 0, 1)[None]


def caffe_bgr(picture):
    """Return 255 times the picture minus the mean pixel, as BGR: the input of Caffe's models."""
    return 255 * to_batch(picture).flip(1) - torch.tensor([103.939, 116.779, 123.68], dtype=torch.float64).view(
        1, 3, 1, 1
    )


def mat_rgb(picture):
    """Return 255 times the picture minus the mean pixel, as RGB: the input of imagenet-vgg-verydeep-19.mat."""
    return 255 * to_batch(picture) - torch.tensor([123.68, 116.779, 103.939], dtype=torch.float64).view(1, 3, 1, 1)


def torchvision_rgb(picture):
    mean, std = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    mean, std = (torch.tensor(values, dtype=torch.float64).view(1, 3, 1, 1) for values in (mean, std))
    return (to_batch(picture) - mean) / std


def flatten(x):
    _, channels, height, width = x.shape
    return x.reshape(channels, height * width)


def gram_by_elements(x):
    return flatten(x) @ flatten(x).T / x.numel()


def gram_by_positions(x):
    return flatten(x) @ flatten(x).T / (x.shape[2] * x.shape[3])
