"""Training: the loop, run folders, checkpoints, strategies, and what a run shows while it goes."""
