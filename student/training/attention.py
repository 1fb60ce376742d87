"""Which attention a training computes with. Imports torch: import it where it is needed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from xpoll.core.device import best_device


@contextmanager
def attention_for_training(model: Any, precision: str) -> Iterator[None]:
    """Within the block a model that trains in bf16 on a CPU computes its attention step by step ("eager").

    Without dropout PyTorch would take its fused attention, whose gradient in bf16 takes half of a step's time on a CPU
    (PyTorch 2.13, experiments/LOG.md). In fp32 both take the same; with dropout it does not take the fused one.
    """
    usual = model.config._attn_implementation
    if best_device().type == "cpu" and precision == "bf16":
        model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(usual)
