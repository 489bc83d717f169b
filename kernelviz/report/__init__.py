"""The report: a network to explore, as one HTML file. Arrays in, one text out."""
