"""Gatys et al.'s "Controlling Perceptual Factors": L-BFGS from the content, 512 and then 1,024 pixels squared.

    nstjax run CONTENT STYLE --preset gatys-controls

The terms and weights of ``gatys-pytorch``; 500 iterations of L-BFGS with steps of length 1 at 512 * 512 pixels with the
aspect ratios of the pictures, then 200 at 1,024 * 1,024 from the enlarged result. The caffe flavour is the source's
original network, not its normalised one. What the paper controls are options of a run:
regions (``--content-mask``), matched colours (``--match-colour``), luminance (``--luminance``).

Source: https://github.com/leongatys/NeuralImageSynthesis, ``ExampleNotebooks`` at commit cced0b9; Gatys et al.,
"Controlling Perceptual Factors in Neural Style Transfer", 2017.

Differs from the source:

- It writes the picture that its last iteration evaluates; here the one after that iteration.
- Its pooling keeps an odd last row or column; here it is dropped. Sides that are multiples of 16 have none.
- It blurs pictures by a Gaussian before it reduces them by bilinear interpolation; here the interpolation is widened
  instead. It rounds the first result to 8 bits before it is enlarged.
"""

import nstjax

gatys = nstjax.load("gatys-pytorch")

config = gatys.config.replace(sizes=(512, 1024), size_by="area", size_steps=(500, 200), enlarge=False)

flavour, flavours = gatys.flavour, gatys.flavours

version = 3

terms = gatys.terms
