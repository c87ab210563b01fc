"""Chips that are not here: their figures, and what their own compiler makes of the steps of a run."""
