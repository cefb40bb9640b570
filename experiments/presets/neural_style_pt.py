"""ProGamerGov's neural-style-pt with its defaults: neural-style's settings, another total variation.

    nstjax run CONTENT STYLE --preset neural-style-pt

As ``neural-style``, but total variation is the sum of absolute neighbour differences, and pictures are multiplied by
255 there too. Meant for the caffe flavour, down to block5_conv1. Its Adam is ``--optimiser adam --learning-rate
0.00392 --epsilon 2.55e-6`` (1 / 255, 1e-8 * 255).

Source: https://github.com/ProGamerGov/neural-style-pt, ``neural_style.py`` at commit 7251405.

Differs from the source:

- its option for normalised gradients only squares the terms' weights; here ``--normalise-gradients`` divides the
  gradient at the feature map by its L1 norm, as neural-style does.
- its L-BFGS takes steps of length 1 as they come; here a line search chooses their length, and each costs more.
- it resizes by bilinear interpolation, here by Lanczos'.
"""

import nstjax
from nstjax.experiment.experiment import load

neural_style = load("neural-style")

config = neural_style.config

version = 1


def total_variation(picture):
    """Absolute neighbour differences of the picture on the 0-255 scale."""
    return nstjax.losses.total_variation_l1(255 * picture)


def terms(config):
    """Those of neural-style, with the total variation of this one."""
    *others, _ = neural_style.terms(config)
    return (*others, nstjax.PictureTerm("tv", total_variation))
