"""Parameter schemes that generate their weights: hypernetworks (Ha, Dai and Le 2017)."""
