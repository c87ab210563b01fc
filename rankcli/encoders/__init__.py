"""Encoders: models that turn laid-out tokens into vectors."""
