"""An architecture for people: in words, and as a picture. Imports no torch, and matplotlib only to draw."""

from nasreg.draw.candidates import draw_candidates
from nasreg.draw.network import Block, draw_network
from nasreg.draw.picture import cells_figure, draw_cells
from nasreg.draw.words import describe_architecture

__all__ = ["Block", "cells_figure", "describe_architecture", "draw_candidates", "draw_cells", "draw_network"]
