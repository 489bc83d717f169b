"""One observed forward pass: order, runs, shapes, axes and receptive fields of every layer."""
