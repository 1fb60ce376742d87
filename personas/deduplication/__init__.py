"""A file of personas without the ones that are nearly the same as one before, for any number of them."""
