"""What goes on beside the training step, on the host: validation, logs, warnings, and votes to stop."""
