"""The commands, by theme: each takes the options that it was given, and prints what came of it.

All raise RequestError for a wrong request, and WorldError where the world refuses or the answer is
bad; `bench.cli` turns these into one line and an exit status.
"""
