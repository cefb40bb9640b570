"""Objectives of the systems that the presets reproduce, in float64 PyTorch.

    python tests/references/gram_family.py            writes gram_family.npz next to this file

Each system is written from its published formulas, with its preprocessing, scale and layer names and its weights as
literals; nothing of nstjax is used. The picture is a tensor [H, W, 3] in [0, 1] before the system's preprocessing, so
that autograd converts the gradient to that scale.

A system is a function (picture, content, style) -> {term: (weight, unweighted value)}.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parents[1]))

from references import inputs
from references.torch_vgg19 import (
    caffe_bgr,
    flatten,
    gram_by_elements,
    gram_by_positions,
    mat_rgb,
    to_batch,
    torchvision_rgb,
    vgg_features,
)
from references.torch_wasserstein import check_wasserstein, wasserstein

GOLDENS = Path(__file__).with_suffix(".npz")


RELUS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
WIDTHS = (64, 128, 256, 512, 512)


def mse(x, t):
    return functional.mse_loss(x, t)


# The systems.


def neural_style(picture, content, style):
    """Return the objective of jcjohnson/neural-style, with 255 instead of its 256."""
    x, c, s = (vgg_features(caffe_bgr(rgb), ceil=True) for rgb in (picture, content, style))
    image = caffe_bgr(picture)
    across = image[:, :, :-1, :-1] - image[:, :, :-1, 1:]
    down = image[:, :, :-1, :-1] - image[:, :, 1:, :-1]
    return {
        "content": (5e0, mse(x["relu4_2"], c["relu4_2"])),
        "style": (1e2, sum(mse(gram_by_elements(x[n]), gram_by_elements(s[n])) for n in RELUS)),
        "tv": (1e-3, (across**2 + down**2).sum() / 2),
    }


def neural_style_tv_gradient(image):
    """Return the unweighted gradient of neural-style's TV term, which it defines without a value."""
    gradient = torch.zeros_like(image)
    across = image[:, :, :-1, :-1] - image[:, :, :-1, 1:]
    down = image[:, :, :-1, :-1] - image[:, :, 1:, :-1]
    gradient[:, :, :-1, :-1] += across + down
    gradient[:, :, :-1, 1:] -= across
    gradient[:, :, 1:, :-1] -= down
    return gradient


def neural_style_pt(picture, content, style):
    """Return the objective of ProGamerGov/neural-style-pt."""
    x, c, s = (vgg_features(caffe_bgr(rgb)) for rgb in (picture, content, style))
    image = caffe_bgr(picture)
    tv = (image[:, :, 1:] - image[:, :, :-1]).abs().sum() + (image[..., 1:] - image[..., :-1]).abs().sum()
    return {
        "content": (5e0, mse(x["relu4_2"], c["relu4_2"])),
        "style": (1e2, sum(mse(gram_by_elements(x[n]), gram_by_elements(s[n])) for n in RELUS)),
        "tv": (1e-3, tv),
    }


def _gatys(picture, content, style, *, ceil):
    # The means are those of Caffe divided by 255, to eight digits.
    mean = torch.tensor([0.40760392, 0.45795686, 0.48501961], dtype=torch.float64).view(1, 3, 1, 1)
    x, c, s = (vgg_features(255 * (to_batch(rgb).flip(1) - mean), ceil=ceil) for rgb in (picture, content, style))
    layers = zip(RELUS, WIDTHS, strict=True)
    return {
        "content": (1e0, mse(x["relu4_2"], c["relu4_2"])),
        "style": (1e3, sum(mse(gram_by_positions(x[n]), gram_by_positions(s[n])) / w**2 for n, w in layers)),
    }


def gatys_pytorch(picture, content, style):
    """Return the objective of leongatys/PytorchNeuralStyleTransfer."""
    return _gatys(picture, content, style, ceil=False)


def gatys_controls(picture, content, style):
    """Return the objective of leongatys/NeuralImageSynthesis, the original network, one region."""
    return _gatys(picture, content, style, ceil=True)


def style_transfer_pytorch(picture, content, style):
    """Return the objective of crowsonkb/style-transfer-pytorch."""
    x, c, s = (vgg_features(torchvision_rgb(rgb), padding="replicate") for rgb in (picture, content, style))
    p = functional.pad(to_batch(picture), (1, 1, 1, 1), mode="replicate")
    tv = 2 * (
        ((p[..., 1:-1, 2:] - p[..., 1:-1, 1:-1]) ** 2).mean() / 3
        + ((p[..., 2:, 1:-1] - p[..., 1:-1, 1:-1]) ** 2).mean() / 3
        + ((p[..., 1:, 1:] - p[..., :-1, :-1]) ** 2).mean() / 12
        + ((p[..., 1:, :-1] - p[..., :-1, 1:]) ** 2).mean() / 12
    )
    layers = zip(RELUS, (256, 64, 16, 4, 1), strict=True)
    return {
        "content": (0.015, mse(x["relu4_2"], c["relu4_2"])),
        "style": (1.0, sum(w / 341 * wasserstein(x[n], s[n]) for n, w in layers)),
        "tv": (2.0, tv),
    }


def pystiche(picture, content, style):
    """Return the objective of pystiche's example "Neural Style Transfer with pystiche"."""
    x, c, s = (vgg_features(torchvision_rgb(rgb)) for rgb in (picture, content, style))
    return {
        "content": (1e0, mse(x["relu4_2"], c["relu4_2"])),
        "style": (1e3, sum(mse(gram_by_positions(x[n]), gram_by_positions(s[n])) / 5 for n in RELUS)),
    }


def neural_style_tf(picture, content, style):
    """Return the objective of cysmith/neural-style-tf."""
    x, c, s = (
        vgg_features(mat_rgb(rgb), pooling="average", ceil=True, rgb_kernel=True) for rgb in (picture, content, style)
    )
    image = mat_rgb(picture)
    tv = (image[:, :, 1:] - image[:, :, :-1]).abs().sum() + (image[..., 1:] - image[..., :-1]).abs().sum()
    p, n = c["conv4_2"], c["conv4_2"].shape[1]
    m = p.shape[2] * p.shape[3]
    style_loss = 0
    for name in RELUS:
        depth, area = s[name].shape[1], s[name].shape[2] * s[name].shape[3]
        difference = flatten(x[name]) @ flatten(x[name]).T - flatten(s[name]) @ flatten(s[name]).T
        style_loss = style_loss + 0.2 * (difference**2).sum() / (4 * depth**2 * area**2)
    return {
        "content": (5e0, ((x["conv4_2"] - p) ** 2).sum() / (2 * n**0.5 * m**0.5)),
        "style": (1e4, style_loss / 5),
        "tv": (1e-3, tv),
    }


def anishathalye(picture, content, style):
    """Return the objective of anishathalye/neural-style."""
    x, c, s = (vgg_features(mat_rgb(rgb), ceil=True, rgb_kernel=True) for rgb in (picture, content, style))
    image = mat_rgb(picture)
    style_loss = 0
    for name in RELUS:
        grams = [gram_by_elements(features[name]) for features in (x, s)]
        style_loss = style_loss + 0.2 * ((grams[0] - grams[1]) ** 2).sum() / grams[1].numel()
    down, across = image[:, :, 1:] - image[:, :, :-1], image[..., 1:] - image[..., :-1]
    return {
        "content": (5e0, ((x["relu4_2"] - c["relu4_2"]) ** 2).sum() / c["relu4_2"].numel()),
        "style": (5e2, style_loss),
        "tv": (1e2, (down**2).sum() / down.numel() + (across**2).sum() / across.numel()),
    }


def tensorflow_tutorial(picture, content, style):
    """Return the objective of TensorFlow's tutorial, with the total variation of its second run."""
    x, c, s = (vgg_features(caffe_bgr(rgb)) for rgb in (picture, content, style))
    tv = (picture[1:] - picture[:-1]).abs().sum() + (picture[:, 1:] - picture[:, :-1]).abs().sum()
    return {
        "content": (1e4, mse(x["relu5_2"], c["relu5_2"])),
        "style": (1e-2, sum(mse(gram_by_positions(x[n]), gram_by_positions(s[n])) for n in RELUS) / 5),
        "tv": (30, tv),
    }


def pytorch_tutorial(picture, content, style):
    """Return the objective of PyTorch's tutorial."""
    x, c, s = (vgg_features(torchvision_rgb(rgb)) for rgb in (picture, content, style))
    layers = ("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1")
    return {
        "content": (1, mse(x["conv2_2"], c["conv2_2"])),
        "style": (1_000_000, sum(mse(gram_by_elements(x[n]), gram_by_elements(s[n])) for n in layers)),
    }


def keras_example(picture, content, style):
    """Return the objective of Keras's example of 2016, in the version with gradient descent."""
    x, c, s = (vgg_features(caffe_bgr(rgb)) for rgb in (picture, content, style))
    image = caffe_bgr(picture)
    size, channels = image.shape[2] * image.shape[3], 3
    style_loss = 0
    for name in RELUS:
        difference = flatten(s[name]) @ flatten(s[name]).T - flatten(x[name]) @ flatten(x[name]).T
        style_loss = style_loss + (difference**2).sum() / (4.0 * channels**2 * size**2) / 5
    a = (image[:, :, :-1, :-1] - image[:, :, 1:, :-1]) ** 2
    b = (image[:, :, :-1, :-1] - image[:, :, :-1, 1:]) ** 2
    return {
        "content": (2.5e-8, ((x["relu5_2"] - c["relu5_2"]) ** 2).sum()),
        "style": (1e-6, style_loss),
        "tv": (1e-6, ((a + b) ** 1.25).sum()),
    }


SYSTEMS = (
    neural_style,
    neural_style_pt,
    gatys_pytorch,
    gatys_controls,
    style_transfer_pytorch,
    pystiche,
    neural_style_tf,
    anishathalye,
    tensorflow_tutorial,
    pytorch_tutorial,
    keras_example,
)

STYLE_OF_ONE_SIZE = (neural_style_tf, pytorch_tutorial, keras_example)
"""Systems that resize the style to the content's size, or require that size."""


def compute_goldens():
    """Return {"system/…": array} for every system.

    ``style_of_one_size`` selects the pictures; ``terms``, ``weights`` and ``values`` have the same order; ``gradient``
    [H, W, 3] is that of the total; ``norms`` [terms] and ``slopes`` [terms, 8], along ``inputs.directions``, are those
    of the gradient of each weighted term.
    """
    goldens = {}
    for system in SYSTEMS:
        style_of_one_size = system in STYLE_OF_ONE_SIZE
        arrays = inputs.pictures(style_of_one_size=style_of_one_size)
        picture, content, style = (torch.tensor(array.astype(np.float64)) for array in arrays)
        picture.requires_grad_()
        parts = system(picture, content, style)
        gradients = torch.stack(
            [torch.autograd.grad(w * value, picture, retain_graph=True)[0] for w, value in parts.values()]
        ).numpy()
        directions = inputs.directions(picture.shape)
        results = {
            "style_of_one_size": style_of_one_size,
            "terms": [*parts],
            "weights": [float(w) for w, _ in parts.values()],
            "values": [value.item() for _, value in parts.values()],
            "gradient": gradients.sum(0),
            "norms": np.linalg.norm(gradients.reshape(len(parts), -1), axis=1),
            "slopes": np.einsum("thwc,dhwc->td", gradients, directions),
        }
        goldens |= {f"{system.__name__}/{name}": np.asarray(value) for name, value in results.items()}
    return goldens


def check_formulas():
    """Check the formulas that do not follow their source literally.

    The energy used for neural-style's TV term has the gradient that neural-style defines, and the Wasserstein distance
    equals the exact one when enough steps are made.
    """
    picture, content, _ = (torch.tensor(array.astype(np.float64)) for array in inputs.pictures())
    image = caffe_bgr(picture).requires_grad_()
    across = image[:, :, :-1, :-1] - image[:, :, :-1, 1:]
    down = image[:, :, :-1, :-1] - image[:, :, 1:, :-1]
    (gradient,) = torch.autograd.grad((across**2 + down**2).sum() / 2, image)
    torch.testing.assert_close(gradient, neural_style_tv_gradient(image.detach()), rtol=1e-12, atol=1e-9)

    x, t = (vgg_features(torchvision_rgb(rgb), padding="replicate")["relu2_1"] for rgb in (picture, content))
    check_wasserstein(x.requires_grad_(), t)


if __name__ == "__main__":
    check_formulas()
    np.savez_compressed(GOLDENS, **compute_goldens())
