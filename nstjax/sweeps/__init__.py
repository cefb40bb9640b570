"""Many runs as one program: their members, groups, devices and processes."""
