"""Arrays of a layer become tiles and statistics; NumPy only."""
