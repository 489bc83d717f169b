"""Convolutions and pools as plain integers: sizes, windows and the settings that torch rejects."""
