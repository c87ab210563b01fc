"""The verbs, without click: each does what one command is for."""
