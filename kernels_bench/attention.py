"""Cases of attention: of a prompt (prefill), and of one token over paged keys and values (decode).

Eager decode gathers the pages first, as an engine without a paged operator would have to. vLLM's operator is
its CPU attention on a processor, and flash attention with a block table elsewhere; the latter was not yet run
by this suite.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as functional

from xpoll.kernels_bench.cases import DTYPES, Call, Case
from xpoll.kernels_bench.shapes import SHAPES, LayerShape

PAGE = 64  # tokens; a multiple of 32, which vLLM's CPU attention requires, and the value in Intel's recipes


def attention_cases(model: str, dtype: str, *, prompt: int, sequences: int, context: int) -> Iterator[Case]:
    """Prefill of one prompt and, for causal models, decode of several sequences.

    Args:
        model: Name in SHAPES.
        dtype: Name in DTYPES.
        prompt: Tokens of the prompt.
        sequences: Number of sequences in the decode step.
        context: Tokens of context per sequence.
    """
    layer, kind = SHAPES[model], DTYPES[dtype]
    size = torch.empty((), dtype=kind).element_size()
    query, kept = layer.heads * layer.head_dim, layer.kv_heads * layer.head_dim
    causal = layer.gated  # encoders see the whole text
    pairs = prompt * (prompt + 1) / 2 if causal else float(prompt * prompt)
    yield Case(
        "attention_prefill",
        model,
        f"{prompt} tokens, {layer.heads}/{layer.kv_heads} heads of {layer.head_dim}",
        dtype,
        4.0 * pairs * query,
        size * prompt * 2 * (query + kept),
        _prefill_inputs(layer, kind, prompt, causal),
        lambda q, k, v, causal: functional.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=True),
    )
    if causal:
        yield Case(
            "attention_decode",
            model,
            f"{sequences} sequences x {context} tokens, {layer.heads}/{layer.kv_heads} heads of {layer.head_dim}",
            dtype,
            4.0 * sequences * context * query,
            size * sequences * (2 * query + 2 * context * kept),
            _decode_inputs(layer, kind, sequences, context),
            _paged,
            _own_paged,
        )


def _prefill_inputs(layer: LayerShape, kind: torch.dtype, prompt: int, causal: bool) -> Callable[[str], Sequence[Any]]:
    """Query, keys and values (1, heads, tokens, dim), and whether attention is causal."""

    def inputs(device: str) -> Sequence[Any]:
        heads = (layer.heads, layer.kv_heads, layer.kv_heads)
        return [*(torch.randn(1, n, prompt, layer.head_dim, device=device).to(kind) for n in heads), causal]

    return inputs


def _decode_inputs(
    layer: LayerShape, kind: torch.dtype, sequences: int, context: int
) -> Callable[[str], Sequence[Any]]:
    """Query (sequences, heads, dim); keys and values (pages, PAGE, kv heads, dim); the pages of each sequence."""
    pages = -(-context // PAGE)

    def inputs(device: str) -> Sequence[Any]:
        query = torch.randn(sequences, layer.heads, layer.head_dim, device=device).to(kind)
        shape = (sequences * pages, PAGE, layer.kv_heads, layer.head_dim)
        keys, values = (torch.randn(shape, device=device).to(kind) for _ in range(2))
        generator = torch.Generator().manual_seed(0)
        table = torch.randperm(sequences * pages, generator=generator).view(sequences, pages)
        return [query, keys, values, table.to(torch.int32).to(device), context]

    return inputs


def _paged(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, table: torch.Tensor, context: int
) -> torch.Tensor:
    k, v = (pages[table].flatten(1, 2)[:, :context].transpose(1, 2) for pages in (keys, values))
    return functional.scaled_dot_product_attention(query[:, :, None], k, v, enable_gqa=True)[:, :, 0]


def _own_paged(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, table: torch.Tensor, context: int
) -> Call:
    on_processor = query.device.type == "cpu"
    return (_cpu_attention if on_processor else _flash_attention)(query, keys, values, table, context)


def _cpu_attention(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, table: torch.Tensor, context: int
) -> Call:
    from vllm import _custom_ops as ops
    from vllm.v1.attention.backends.cpu_attn import _get_attn_isa

    sequences, heads, head_dim = query.shape
    kv_heads = keys.shape[2]
    isa = _get_attn_isa(query.dtype, PAGE, head_dim)
    caches = [torch.zeros(keys.shape[0], kv_heads, PAGE, head_dim, dtype=query.dtype) for _ in range(2)]
    slots = torch.arange(keys.shape[0] * PAGE, dtype=torch.int64)
    ops.cpu_attn_reshape_and_cache(keys.flatten(0, 1), values.flatten(0, 1), *caches, slots, isa)
    lengths = torch.full((sequences,), context, dtype=torch.int32)
    starts = torch.arange(sequences + 1, dtype=torch.int32)
    plan = ops.cpu_attn_get_scheduler_metadata(
        num_reqs=sequences,
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=head_dim,
        seq_lens=lengths,
        dtype=query.dtype,
        query_start_loc=starts,
        causal=True,
        sliding_window_size=-1,
        isa=isa,
        enable_kv_split=True,
    )
    out = torch.empty_like(query)

    def call() -> torch.Tensor:
        ops.cpu_attention_with_kv_cache(
            query=query,
            key_cache=caches[0],
            value_cache=caches[1],
            output=out,
            query_start_loc=starts,
            seq_lens=lengths,
            scale=head_dim**-0.5,
            causal=True,
            alibi_slopes=None,
            sliding_window=-1,
            block_table=table,
            softcap=0.0,
            scheduler_metadata=plan,
            s_aux=None,
        )
        return out

    return call


def _flash_attention(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, table: torch.Tensor, context: int
) -> Call:
    from vllm.v1.attention.backends.fa_utils import flash_attn_varlen_func

    starts = torch.arange(query.shape[0] + 1, dtype=torch.int32, device=query.device)
    lengths = torch.full((query.shape[0],), context, dtype=torch.int32, device=query.device)
    return lambda: flash_attn_varlen_func(
        q=query,
        k=keys,
        v=values,
        max_seqlen_q=1,
        cu_seqlens_q=starts,
        max_seqlen_k=context,
        seqused_k=lengths,
        causal=True,
        block_table=table,
    )
