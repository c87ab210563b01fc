"""Run directories: the inputs of a run, the steps of a run, and the files that it writes."""
