"""Parameter schemes that store their weights: who shares what with whom."""
