"""Shared by all tests: no network, quiet TensorFlow, two virtual CPU devices."""

from __future__ import annotations
