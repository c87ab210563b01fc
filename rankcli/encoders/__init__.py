"""Encoders: laid-out tokens to vectors."""
