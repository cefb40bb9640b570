"""Li and Wand's CNNMRF as in pystiche: patches drawn to the style's nearest, L-BFGS, coarse to fine.

    nstjax run CONTENT STYLE --preset li-wand

Content at relu4_1, mean squares, weight 20; style at relu3_1 and relu4_1, half the squared distance of every 3x3 patch
(with stride 2) from the nearest patch of the style by normalised cross-correlation, weight 0.0001; total variation
0.001 on the 0-255 scale; long sides 96, 192, 384 with 100 iterations of L-BFGS each, with steps of length 1, from the
content. Weighted for the caffe flavour, with other loss weights for the others; down to block4_conv1.

Source: https://github.com/pystiche/papers, ``li_wand_2016`` at commit a8a87f4, with ``impl_params``; Li and Wand,
"Combining Markov Random Fields and Convolutional Neural Networks for Image Synthesis", 2016.

Differs from the source:

- It reduces by bilinear interpolation without anti-aliasing, unless torchvision is a later one; here with it.
"""

from dataclasses import dataclass

import jax
import numpy as np

import nstjax

config = nstjax.Config(
    layers={"content": ("block4_conv1",), "style": ("block3_conv1", "block4_conv1")},
    loss_weights={"content": 20.0, "style": 1e-4, "tv": 1e-3},
    sizes=(96, 192, 384),
    steps=(100,),
    enlarge=True,
    resampling="bilinear",
    **nstjax.units.from_255("lbfgs", learning_rate=1),
    memory=100,
)

flavour = "caffe"

# In blocks 1 to 3 the activations of other weights are about a hundredth of caffe's (experiments/studies/flavours.py).
# Content and style, both quadratic in them, get 100^2 times their weights.
FOR_SMALL_ACTIVATIONS = {"loss_weights": {"content": 2e5, "style": 1.0}}
flavours = {"torchvision": FOR_SMALL_ACTIVATIONS, "self-taught": FOR_SMALL_ACTIVATIONS}

version = 3


@dataclass(frozen=True)
class SharedPatches(nstjax.statistics.Patches):
    """Patches whose gradient, at each position, is divided by the number of patches that contain the position."""

    def __call__(self, features_HxWxC):
        """Return the patches of a map, [M, size * size * C]."""
        h, w, _ = features_HxWxC.shape
        shares = 1 / (self.count_patches(h)[:, None, None] * self.count_patches(w)[:, None])
        same = jax.lax.stop_gradient(features_HxWxC)
        return super().__call__(same + shares.astype(np.float32) * (features_HxWxC - same))

    def count_patches(self, length):
        """Return how many patches contain each position of a side; at least 1."""
        offsets = np.arange(length) - np.arange(0, length - self.size + 1, self.stride)[:, None]
        return np.maximum(((offsets >= 0) & (offsets < self.size)).sum(axis=0), 1)


def total_variation(picture):
    """Return half the squared neighbour differences of the picture on the 0-255 scale."""
    return nstjax.losses.total_variation_half_squared(255 * picture)


def terms(config):
    """Return mean squares of features, half squares of patches from their nearest, and squared total variation."""
    return (
        nstjax.content_term(config.layers["content"], nstjax.layer_sum(nstjax.losses.mean_squared)),
        nstjax.style_term(
            config.layers["style"],
            SharedPatches(size=3, stride=2),
            nstjax.layer_sum(nstjax.losses.markov_random_field),
        ),
        nstjax.PictureTerm("tv", total_variation),
    )
