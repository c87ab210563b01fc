"""Optimizers: updates of variables from their gradients."""
