"""Vote methods on simulated panels whose truth is known."""
