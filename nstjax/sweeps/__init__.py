"""Sweeps: many runs as one program, in groups, over devices and processes."""
