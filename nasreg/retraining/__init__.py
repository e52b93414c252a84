"""Training the network of an architecture by the papers' recipes, and measuring it."""

REPEATS = "repeats.json"
"""File that says that a directory holds one retraining with several seeds."""
