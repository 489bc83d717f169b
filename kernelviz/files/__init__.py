"""Read images and numbers; write pictures and arrays, atomically."""
