"""The operators of IPEX 2.8: each takes the inputs of the operator in PyTorch, and returns a call.

Runs in the environment of IPEX, see ipex_step.py. IPEX has no operators for softmax and top-p.
"""

from collections.abc import Callable
from typing import Any

import torch

from xpoll.kernels_bench.attention import PAGE
from xpoll.kernels_bench.cases import NORM_EPSILON, Call, Case

FLOATS = ("fp32", "bf16", "fp16")


def has_operator(case: Case) -> bool:
    """Whether IPEX has an operator for a case; it has int8 matrices only within quantised models."""
    return case.kernel in OPERATORS and case.dtype in FLOATS


def _gemm(x: torch.Tensor, weight: torch.Tensor) -> Call:
    """With the weight prepacked, as `ipex.optimize` does for a served model."""
    import intel_extension_for_pytorch as ipex

    linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, device=x.device, dtype=x.dtype)
    with torch.no_grad():
        linear.weight.copy_(weight)
    packed = ipex.optimize(linear.eval(), dtype=x.dtype, sample_input=x)

    def call() -> Any:
        with torch.no_grad():
            return packed(x)

    return call


def _rms_norm(x: torch.Tensor, weight: torch.Tensor) -> Call:
    from intel_extension_for_pytorch.llm import functional

    return lambda: functional.rms_norm(x, weight, NORM_EPSILON)


def _silu_mul(x: torch.Tensor) -> Call:
    from intel_extension_for_pytorch.llm import functional

    gate, up = (half.contiguous() for half in x.chunk(2, dim=-1))
    return lambda: functional.silu_mul(gate, up)


def _rope(query: torch.Tensor, key: torch.Tensor, table: torch.Tensor, positions: torch.Tensor, head_dim: int) -> Call:
    from intel_extension_for_pytorch.llm import functional

    cos, sin = (half.float().contiguous() for half in table[positions].chunk(2, dim=-1))
    # In place, like vLLM's: the first call rotates the inputs, later ones rotate further.
    heads = [x.clone().view(x.shape[0], -1, head_dim) for x in (query, key)]

    def call() -> list[torch.Tensor]:
        functional.rotary_embedding(*heads, sin, cos, head_dim, True)
        return [x.flatten(1) for x in heads]

    return call


def _prefill(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, causal: bool) -> Call:
    from intel_extension_for_pytorch.llm import functional

    tokens, head_dim = query.shape[2], query.shape[3]
    q, k, v = (x[0].transpose(0, 1).contiguous() for x in (query, key, value))
    out = torch.empty_like(q)
    lengths = torch.tensor([0, tokens], dtype=torch.int32, device=q.device)

    def call() -> torch.Tensor:
        functional.varlen_attention(
            q, k, v, out, lengths, lengths, None, tokens, tokens, 0.0, head_dim**-0.5, False, causal, False, None
        )
        return out.transpose(0, 1)[None]

    return call


def _decode(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, table: torch.Tensor, context: int) -> Call:
    from intel_extension_for_pytorch.llm.modules import PagedAttention

    sequences, heads, head_dim = query.shape
    mapping = torch.arange(keys.shape[2], dtype=torch.int32, device=query.device).repeat_interleave(
        heads // keys.shape[2]
    )
    caches = [pages.transpose(1, 2).contiguous() for pages in (keys, values)]
    lengths = torch.full((sequences,), context, dtype=torch.int32, device=query.device)
    out = torch.empty_like(query)

    def call() -> torch.Tensor:
        PagedAttention.single_query_cached_kv_attention(
            out, query, *caches, mapping, head_dim**-0.5, table, lengths, PAGE, context, None
        )
        return out

    return call


OPERATORS: dict[str, Callable[..., Call]] = {
    "gemm": _gemm,
    "rms_norm": _rms_norm,
    "silu_mul": _silu_mul,
    "rope": _rope,
    "attention_prefill": _prefill,
    "attention_decode": _decode,
}
