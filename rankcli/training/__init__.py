"""The machine that trains: devices, steps, checkpoints, prediction."""
