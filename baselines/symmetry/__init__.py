"""Symmetry: teams whose agents, and whose targets, may be listed in any order."""
