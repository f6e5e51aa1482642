"""In the trial's process: attaching, its session, checkpoints and workers."""
