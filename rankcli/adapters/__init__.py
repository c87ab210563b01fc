"""Adapters of encoders, one file each: what is trained in place of their weights."""
