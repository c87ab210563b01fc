"""The training loop: devices, steps, checkpoints, prediction."""
