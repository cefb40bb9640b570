"""Statistics of a picture that is too large to be computed at once: tile by tile, and exactly."""
