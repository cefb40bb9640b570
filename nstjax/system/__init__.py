"""The machine: atomic files, memory, devices, signals, streams, compiled programs kept on disk, processes."""
