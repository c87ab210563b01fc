"""Encoder families: one file each, which alone knows its `model_type`."""
