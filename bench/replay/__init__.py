"""Replay: storage of raw states, and the samplers that choose from it."""
