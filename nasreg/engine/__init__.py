"""Searches, retrainings and evaluations as a whole, and the core's own plugin. Imports nothing until it is used."""
