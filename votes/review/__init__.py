"""People check a sample of the labels: what they say corrects the labels and bounds how many others are wrong."""
