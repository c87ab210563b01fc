"""Hooks: what is added to the training step on the devices, in pure TensorFlow."""
