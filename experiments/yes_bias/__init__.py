"""How a model's readiness to say yes is best taken out of labels that are each read by themselves."""
