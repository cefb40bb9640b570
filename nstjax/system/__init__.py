"""The machine: atomic files, memory, devices, signals, compiled programs kept on disk, processes."""
