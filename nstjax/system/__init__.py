"""The machine: files that appear whole, memory, devices, signals, compiled programs kept on disk, processes."""
