"""What lies on the disk: the folders of runs and sweeps, checkpoints, status, event files."""
