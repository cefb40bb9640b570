"""The machine: atomic files, memory, devices, signals, streams, compiled programs, processes and clusters."""
