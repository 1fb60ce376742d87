"""What a language model makes of texts; its files import torch."""
