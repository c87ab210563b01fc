"""The commands, without click: one module for each."""
