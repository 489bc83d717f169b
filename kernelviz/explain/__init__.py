"""A convolution, a pool or one value of a map, worked out: numbers, texts and pages."""
