"""Losses: scores of a batch to one value per group."""
