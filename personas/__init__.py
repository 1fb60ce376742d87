"""The documents, the panel of personas, and the prompts that put one to the other."""
