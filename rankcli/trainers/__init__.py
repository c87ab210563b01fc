"""Trainers: strategy, step, checkpoints, validation."""
