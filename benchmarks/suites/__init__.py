"""The suites, found by name: NAME.py has `measure(parameters)`, NAME.toml `about`, parameters and checks.

NAME.py may also have `finish(document)`, which is called with the document of a complete run.
"""
