"""Listeners: the host's work between training steps, that is validation, logs, warnings, and votes to stop."""
