"""ProGamerGov's neural-style-pt with its defaults: neural-style's settings, with absolute total variation.

    nstjax run CONTENT STYLE --preset neural-style-pt

Like ``neural-style``, except that total variation is the sum of absolute neighbour differences, and that pictures are
resized by bilinear interpolation; the source multiplies pictures by 255 too. The source's Adam is ``--optimiser adam
--learning-rate 0.00392 --epsilon 2.55e-6`` (1 / 255, 1e-8 * 255).

Source: https://github.com/ProGamerGov/neural-style-pt, ``neural_style.py`` at commit 7251405.

Differs from the source:

- Its option for normalised gradients only squares the weights of the terms; here ``--normalise-gradients`` divides the
  gradient at the feature map by its L1 norm, as neural-style does.
"""

import nstjax

neural_style = nstjax.load("neural-style")

config = neural_style.config.replace(resampling="bilinear")

flavour, flavours = neural_style.flavour, neural_style.flavours

version = 3


def total_variation(picture):
    """Return absolute neighbour differences of the picture on the 0-255 scale."""
    return nstjax.losses.total_variation_l1(255 * picture)


def terms(config):
    """Return the terms of neural-style, with absolute total variation."""
    *others, _ = neural_style.terms(config)
    return (*others, nstjax.PictureTerm("tv", total_variation))
