"""Trainers: the options of a training."""
