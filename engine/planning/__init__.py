"""What a run will ask, whether the model fits, and how fast it can be at most. Starts nothing."""
