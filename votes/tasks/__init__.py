"""What a text can get: one label, one step of a scale, or several labels."""
