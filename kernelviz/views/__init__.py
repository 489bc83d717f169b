"""Tiles and statistics of the arrays of a layer; NumPy only."""
