"""The step that every peer makes: the one of TensorFlow's tutorial on style transfer, at the layers of a recipe.

    L(x) = 1e4 * mean (F - F_content)^2 at block5_conv2
         + 1e-2 * the mean, over block1_conv1 … block5_conv1, of mean (G - G_style)^2, with G = F F^T / N
         + 30 * (sum |dx| + sum |dy|)

The same step at the layers of the default preset, which ends at block4_conv1, is the recipe "default".

VGG19 has max pooling that drops an odd last row or column, 3x3 convolutions with zero padding, and ReLU. Its input is
``255 x`` in BGR order minus a mean, for the picture x, RGB in [0, 1]. Adam updates x, which is then clipped to [0, 1].

Adam's epsilon is added to the root of the *corrected* mean square, as in PyTorch and optax. Keras adds it to the
uncorrected root (the "epsilon hat" of Kingma and Ba 2015), which in the first steps equals a far larger epsilon.
TensorFlow's peer therefore implements Adam itself, so that all peers make the same steps.

A peer gets the weights and the pictures in one .npz: "content", "style" and "start", float32 [H, W, 3] in [0, 1], and
for each convolution down to the deepest layer "NAME/kernel" [3, 3, in, out] and "NAME/bias" [out]; and the names of the
layers, "content_layer" and "style_layers".
"""

from typing import NamedTuple


class Recipe(NamedTuple):
    """The layers that a step looks at."""

    content_layer: str
    style_layers: tuple[str, ...]


RECIPES = {
    "tutorial": Recipe("block5_conv2", tuple(f"block{i}_conv1" for i in range(1, 6))),
    "default": Recipe("block4_conv1", tuple(f"block{i}_conv1" for i in range(1, 5))),
}
"""The deepest layer of each is that of its content."""

CONTENT_WEIGHT = 1e4
STYLE_WEIGHT = 1e-2
VARIATION_WEIGHT = 30.0

LEARNING_RATE = 0.02
BETA1 = 0.99
BETA2 = 0.999
EPSILON = 1e-1

MEAN_BGR = (103.939, 116.779, 123.68)
