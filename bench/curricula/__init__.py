"""Curricula: training that starts easier than the task that it is evaluated on."""
