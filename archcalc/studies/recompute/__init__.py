"""Which modules to compute again in backward, so that a training step fits with the least extra work."""
