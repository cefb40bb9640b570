"""What is to be run: settings, experiment files, prepared pictures, and all of it resolved and recorded."""
