"""Encoder families: one file each, the only place that knows its `model_type`."""
