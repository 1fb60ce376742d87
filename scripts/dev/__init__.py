"""Pages and link trees that developers make from the code."""
