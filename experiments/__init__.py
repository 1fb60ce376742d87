"""What is tried and not product: outside of the wheel, with tests of its own. Nothing imports it."""
