"""Arrays in, pictures out: no torch, no pyplot, no files."""
