"""A backend without generation: an encoder says how well each label matches a text."""
