"""Drawings with matplotlib: the cells of an architecture, the candidates left during a search, a whole network."""
