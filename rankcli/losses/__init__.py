"""Losses: functions from the outputs of a batch to one value per group."""
