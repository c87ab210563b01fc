"""Optimizers: how gradients change variables."""
