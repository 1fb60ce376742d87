"""A student folder as a classifier, for texts and for files of any size."""
