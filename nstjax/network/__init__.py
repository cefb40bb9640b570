"""The network: layers and flavours as facts, convolution, VGG as a Flax module, and where its weights come from."""
