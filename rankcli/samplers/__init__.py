"""Samplers: which documents make a training group."""
