"""The network: layers and flavours as data, convolution, VGG as a Flax module, and its weights."""
