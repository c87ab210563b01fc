"""Extractors: from texts to tokens, and from tokens to the sequences that an encoder reads."""
