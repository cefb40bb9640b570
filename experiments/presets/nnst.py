"""Kolkin et al.'s Neural Neighbor Style Transfer: each feature drawn to the style's nearest, coarse to fine.

    nstjax run CONTENT STYLE --preset nnst

Hypercolumns of ten convolutions, each layer divided by its number of channels, at every fourth position, centred; the
mean cosine distance of each hypercolumn from the nearest of the style. Long sides 64, 128, 256, 512 with 200 steps of
Adam each, and 400 at the last, learning rate 0.002 on a Laplacian pyramid, from the content; there is no content term.
Meant for any flavour, down to block4_conv3, and for an accelerator: at 512 pixels every step compares
16,384 positions with as many others.

Source: https://github.com/nkolkin13/NeuralNeighborStyleTransfer at commit 290976a; Kolkin, Kucera, Paris, Sykora,
Shechtman and Shakhnarovich, "Neural Neighbor Style Transfer", 2022.

Differs from the source:

- It has VGG16; here VGG19 with the convolutions of the same names.
- It finds the nearest once per size, from the content blended with the result, and keeps them; in its last 200 steps it
  finds them at every step, layer by layer instead of by hypercolumns. Here they are found at every step, by
  hypercolumns, from the result.
- It also searches the style turned by 90, 180 and 270 degrees.
- Its pyramid has eight levels at 512 pixels and five at 64; here five at every size.
- It restarts Adam at each size; here the moments carry over.
- Its feature maps are brought to one size with their corners aligned; here with the centres of their positions aligned.
- At the end it gives the result colours made from the content's; here the result keeps its colours.
- It resizes by bilinear interpolation; here by Lanczos interpolation.
"""

import nstjax

config = nstjax.Config(
    layers={
        "style": (
            *(f"block1_conv{i}" for i in (1, 2)),
            *(f"block2_conv{i}" for i in (1, 2)),
            *(f"block3_conv{i}" for i in (1, 2, 3)),
            *(f"block4_conv{i}" for i in (1, 2, 3)),
        )
    },
    loss_weights={"style": 1.0},
    size=512,
    smallest_size=64,
    size_ratio=2.0,
    size_steps=(200, 200, 200, 400),
    enlarge=True,
    parameterisation="laplacian",
    learning_rate=2e-3,
)

flavour = "torchvision"

# Cosine distances do not depend on the size of the activations.
flavours = {"caffe": {}, "self-taught": {}}

version = 1


def terms(config):
    """Return the cosine distance of hypercolumns from their nearest."""
    return (
        nstjax.Term(
            "style",
            config.layers["style"],
            nstjax.statistics.Hypercolumns(stride=4),
            nstjax.losses.nearest_cosine,
            target="style",
        ),
    )
