"""The commands, by theme: each takes the options that it was given, and prints what came of it."""
