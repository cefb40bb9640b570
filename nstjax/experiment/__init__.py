"""Definition of a run: settings, experiment files and prepared pictures, resolved once and recorded."""
