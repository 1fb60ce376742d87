"""Benchmark suites (suites/NAME.py and NAME.toml), and the harness that runs them."""
