"""Samplers: the choice of the documents of a training group."""
