"""Human review of a sample of the labels: it corrects them and bounds how many of the others are wrong."""
