"""Critics that a team's symmetry is built into: one value, whatever order the agents come in."""
