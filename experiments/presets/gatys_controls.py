"""Gatys et al.'s "Controlling Perceptual Factors": L-BFGS from the content, 512 and then 1,024 pixels squared.

    nstjax run CONTENT STYLE --preset gatys-controls

The terms and weights of ``gatys-pytorch``; 499 steps of L-BFGS of length 1 at 512 * 512 pixels with the aspect ratios
of the pictures, then 199 at 1,024 * 1,024 from the enlarged result: the source's results are the pictures that its
500th and its 200th evaluation see. Pictures are blurred by a Gaussian before they are reduced. The caffe flavour is
the source's original network, not its normalised one. What the paper controls are
options of a run: regions (``--content-mask``), matched colours (``--match-colour``), luminance (``--luminance``).

Source: https://github.com/leongatys/NeuralImageSynthesis, ``ExampleNotebooks`` at commit cced0b9; Gatys et al.,
"Controlling Perceptual Factors in Neural Style Transfer", 2017.

Differs from the source:

- Its pooling keeps an odd last row or column; here it is dropped. Sides that are multiples of 16 have none.
- It writes the first result as a JPEG file, and enlarges it in 8 bits.
"""

import nstjax

gatys = nstjax.load("gatys-pytorch")

config = gatys.config.replace(sizes=(512, 1024), size_by="area", steps=(499, 199), enlarge=False, resampling="gaussian")

flavour, flavours = gatys.flavour, gatys.flavours

version = 3

terms = gatys.terms
