"""Plans a run: its prompts, whether the model fits, the highest possible rate. Starts no engine."""
