"""Extractors: texts to tokens to the sequences an encoder reads."""
