"""Which attention a training computes with. Imports torch: import it where it is needed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from core.device import best_device


@contextmanager
def attention_for_training(model: Any, precision: str) -> Iterator[None]:
    """Within the block a model that trains in bf16 on a CPU computes its attention step by step ("eager").

    The gradient of PyTorch's fused attention has no bf16 arithmetic on a CPU: it takes half of a step's time there
    (measured with PyTorch 2.13, docs/student.md). In fp32, and without a gradient, the fused one is as fast or faster.
    """
    usual = model.config._attn_implementation
    if best_device().type == "cpu" and precision == "bf16":
        model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(usual)
