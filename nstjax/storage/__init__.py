"""Everything on disk: the folders of runs and sweeps, checkpoints, status, TensorBoard's event files."""
