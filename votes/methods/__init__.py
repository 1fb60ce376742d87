"""Ways to turn the votes about a document into one distribution over the labels."""
