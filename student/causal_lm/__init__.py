"""A student that writes: a language model fine-tuned on prompts and completions."""
