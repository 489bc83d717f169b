"""Convolutions and pools as plain integers: sizes, windows and what torch refuses."""
