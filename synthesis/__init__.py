"""Personas write texts: templates, who writes what, what is kept of it, and in which forms it is written out."""
