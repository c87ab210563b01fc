"""Hooks: additions to the training step on the devices, in pure TensorFlow."""
