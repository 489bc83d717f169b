"""One observed forward pass: order, runs, shapes, axes and receptive fields of every layer.

``reads`` is the arithmetic of receptive fields, with a worked example: start there. ``rules`` and ``window_rules`` hold
what each torch operation does to them, ``shared_memory`` what changes for other tensors if an operation overwrites its
input. ``meta`` runs a network without values, ``watch`` calls the rules during this forward pass, and ``trace`` makes a
``Trace`` of what was observed. ``stages`` finds the stages of a network that names none, ``next_size`` the size of an image
that a network takes.
"""
