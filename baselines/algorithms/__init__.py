"""Algorithms: what is learned from what, for any parameter scheme."""
