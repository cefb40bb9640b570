"""Gatys et al.'s "Controlling Perceptual Factors": L-BFGS from the content, 512 and then 1,024 pixels squared.

    nstjax run CONTENT STYLE --preset gatys-controls

The terms and weights of ``gatys-pytorch``; 500 iterations of L-BFGS at 512 * 512 pixels in the pictures' own shapes,
then 200 at 1,024 * 1,024 from the enlarged result. Meant for the caffe flavour, down to block5_conv1: the source's
original network, not its normalised one. What the paper controls are options of a run: regions, matched colours
(``--match-colour``), luminance (``--luminance``).

Source: https://github.com/leongatys/NeuralImageSynthesis, ``ExampleNotebooks`` at commit cced0b9; Gatys et al.,
"Controlling Perceptual Factors in Neural Style Transfer", 2017.

Differs from the source:

- its L-BFGS takes steps of length 1 as they come; here a line search chooses their length, and each costs more.
- its pooling keeps an odd last row or column, here it is dropped: sides that are multiples of 16 have none.
- it reduces pictures by a Gaussian pyramid, and enlarges the first result, in 8 bits, by bilinear interpolation.
"""

from nstjax.experiment.experiment import load

gatys = load("gatys-pytorch")

config = gatys.config.replace(sizes=(512, 1024), size_by="area", enlarge=False)

version = 1

terms = gatys.terms
