"""Where weights come from: names, checkpoints, the cache and the model hub."""
