"""What calibration gets out of a teacher that answers one label to nearly everything."""
