"""Fine-tuning of a language model; its files import torch, TRL and PEFT."""
