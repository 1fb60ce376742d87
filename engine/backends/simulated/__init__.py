"""A timed engine without a model, for scale and fault tests."""
