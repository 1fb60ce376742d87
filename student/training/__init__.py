"""Fine-tuning with PyTorch and transformers.Trainer. Imports torch."""
