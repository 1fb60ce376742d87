"""The case: one operator at one shape; and the cases that work on rows: GEMM, norms, rotary embedding, gates, sampling.

A case counts its arithmetic (a multiply-add is two operations) and the bytes that it has to move at least once.
`own` is vLLM's operator on this device; where vLLM lacks it, building it raises, and the record has the error.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as functional

from xpoll.kernels_bench.shapes import SHAPES, LayerShape

Call = Callable[[], Any]
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32, "int8": torch.int8}
NORM_EPSILON = 1e-5
TOP_P = 0.9


@dataclass(frozen=True, slots=True)
class Case:
    """An operator at a shape.

    Attributes:
        kernel: Name of the operator.
        model: Name of the model with this shape; empty for other shapes.
        shape: The shape in words.
        dtype: Name of the inputs' dtype.
        flop: Arithmetic operations per call.
        moved_bytes: Bytes that a call reads and writes at least once.
        inputs: Makes the inputs on a device.
        eager: The operator in PyTorch.
        own: From the inputs to vLLM's operator as a call; None where vLLM has none.
        compiles: Whether torch.compile may help; GEMM and copy are left to their libraries.
    """

    kernel: str
    model: str
    shape: str
    dtype: str
    flop: float
    moved_bytes: float
    inputs: Callable[[str], Sequence[Any]]
    eager: Callable[..., Any]
    own: Callable[..., Call] | None = None
    compiles: bool = True


def gemm(shape: str, rows: int, inner: int, columns: int, dtype: str, model: str = "") -> Case:
    """The case of (rows, inner) times (columns, inner) transposed, as in a linear layer.

    Args:
        shape: The shape in words.
        rows: Rows of the input.
        inner: Columns of the input and of the weight.
        columns: Rows of the weight.
        dtype: Name in DTYPES.
        model: Name of the model with this shape.
    """
    size = torch.empty((), dtype=DTYPES[dtype]).element_size()
    out_size = 4 if dtype == "int8" else size

    def inputs(device: str) -> Sequence[Any]:
        if dtype == "int8":
            pair = [torch.randint(-128, 127, (n, inner), dtype=torch.int8, device=device) for n in (rows, columns)]
        else:
            pair = [torch.randn(n, inner, device=device).to(DTYPES[dtype]) for n in (rows, columns)]
        return pair

    return Case(
        "gemm",
        model,
        shape,
        dtype,
        2.0 * rows * inner * columns,
        size * (rows * inner + inner * columns) + out_size * rows * columns,
        inputs,
        (lambda x, w: torch._int_mm(x, w.t())) if dtype == "int8" else functional.linear,
        compiles=False,
    )


def layer_gemms(model: str, tokens: int, dtype: str) -> Iterator[Case]:
    """GEMM cases of the matrices of a model's layer, and of its logits.

    Args:
        model: Name in SHAPES.
        tokens: Rows of the input.
        dtype: Name in DTYPES.
    """
    layer = SHAPES[model]
    for name, (inner, columns) in layer.gemms.items():
        rows = layer.tokens_of(name, tokens)
        yield gemm(f"{name} {rows} x {inner} x {columns}", rows, inner, columns, dtype, model)


def row_cases(model: str, tokens: int, dtype: str) -> Iterator[Case]:
    """Cases of the operators on each row between the matrices, and on the logits.

    Args:
        model: Name in SHAPES.
        tokens: Number of rows.
        dtype: Name in DTYPES.
    """
    layer, kind = SHAPES[model], DTYPES[dtype]
    size = torch.empty((), dtype=kind).element_size()

    def made(*shapes: tuple[int, ...]) -> Callable[[str], Sequence[Any]]:
        return lambda device: [torch.randn(shape, device=device).to(kind) for shape in shapes]

    values = tokens * layer.hidden
    yield Case(
        "rms_norm",
        model,
        f"{tokens} x {layer.hidden}",
        dtype,
        4.0 * values,
        size * (2 * values + layer.hidden),
        made((tokens, layer.hidden), (layer.hidden,)),
        lambda x, w: functional.rms_norm(x, w.shape, w, NORM_EPSILON),
        _own_rms_norm,
    )
    if layer.gated:
        gated = tokens * layer.intermediate
        yield Case(
            "silu_mul",
            model,
            f"{tokens} x {layer.intermediate}",
            dtype,
            5.0 * gated,
            size * 3 * gated,
            made((tokens, 2 * layer.intermediate)),
            _silu_mul,
            _own_silu_mul,
        )
        yield _rope(model, layer, tokens, dtype)
    yield from _sampling(model, layer, tokens)


def _silu_mul(x: torch.Tensor) -> torch.Tensor:
    gate, up = x.chunk(2, dim=-1)
    return functional.silu(gate) * up


def _rope(model: str, layer: LayerShape, tokens: int, dtype: str) -> Case:
    kind, half = DTYPES[dtype], layer.head_dim // 2
    width = (layer.heads + layer.kv_heads) * layer.head_dim

    def inputs(device: str) -> Sequence[Any]:
        angles = torch.outer(torch.arange(tokens), 10_000.0 ** (-torch.arange(half) / half)).to(device)
        table = torch.cat((angles.cos(), angles.sin()), dim=-1).to(kind)
        query = torch.randn(tokens, layer.heads * layer.head_dim, device=device).to(kind)
        key = torch.randn(tokens, layer.kv_heads * layer.head_dim, device=device).to(kind)
        return [query, key, table, torch.arange(tokens, device=device), layer.head_dim]

    size = torch.empty((), dtype=kind).element_size()
    shape = f"{tokens} x {layer.heads}+{layer.kv_heads} heads of {layer.head_dim}"
    moved = size * tokens * (2 * width + layer.head_dim)
    return Case("rope", model, shape, dtype, 3.0 * tokens * width, moved, inputs, _rotated, _own_rope)


def _rotated(
    query: torch.Tensor, key: torch.Tensor, table: torch.Tensor, positions: torch.Tensor, head_dim: int
) -> list[torch.Tensor]:
    cos, sin = table[positions].chunk(2, dim=-1)
    rotated = []
    for x in (query, key):
        first, second = x.view(x.shape[0], -1, head_dim).chunk(2, dim=-1)
        c, s = cos[:, None], sin[:, None]
        rotated.append(torch.cat((first * c - second * s, second * c + first * s), dim=-1).view_as(x))
    return rotated


def _sampling(model: str, layer: LayerShape, tokens: int) -> Iterator[Case]:
    """Cases over fp32 logits, as in vLLM's sampler; counted as one read and one write of the logits."""
    values = tokens * layer.vocab
    shape = f"{tokens} x {layer.vocab}"

    def logits(device: str) -> Sequence[Any]:
        return [torch.randn(tokens, layer.vocab, device=device)]

    moved = 8.0 * values
    yield Case("softmax", model, shape, "fp32", 5.0 * values, moved, logits, lambda x: x.softmax(dim=-1))
    yield Case("top_p", model, shape, "fp32", 5.0 * values, moved, logits, _top_p, _own_top_p, compiles=False)


def _top_p(logits: torch.Tensor) -> torch.Tensor:
    """The logits, -inf outside the smallest set of tokens with probability TOP_P."""
    ordered, places = logits.sort(dim=-1, descending=True)
    shares = ordered.softmax(dim=-1)
    dropped = shares.cumsum(dim=-1) - shares >= TOP_P
    return logits.scatter(-1, places, ordered.masked_fill(dropped, -torch.inf))


def _own_rms_norm(x: torch.Tensor, weight: torch.Tensor) -> Call:
    from vllm import _custom_ops

    out = torch.empty_like(x)

    def call() -> torch.Tensor:
        _custom_ops.rms_norm(out, x, weight, NORM_EPSILON)
        return out

    return call


def _own_silu_mul(x: torch.Tensor) -> Call:
    import vllm._custom_ops  # noqa: F401  (registers the operators)

    out = torch.empty(x.shape[0], x.shape[1] // 2, dtype=x.dtype, device=x.device)

    def call() -> torch.Tensor:
        torch.ops._C.silu_and_mul(out, x)
        return out

    return call


def _own_rope(
    query: torch.Tensor, key: torch.Tensor, table: torch.Tensor, positions: torch.Tensor, head_dim: int
) -> Call:
    from vllm import _custom_ops

    rotated = [query.clone(), key.clone()]  # in place: the first call rotates the inputs, later ones rotate further

    def call() -> list[torch.Tensor]:
        _custom_ops.rotary_embedding(positions, *rotated, head_dim, table, True)
        return rotated

    return call


def _own_top_p(logits: torch.Tensor) -> Call:
    from vllm.v1.sample.ops.topk_topp_sampler import apply_top_k_top_p

    share = torch.full((logits.shape[0],), TOP_P, device=logits.device)
    return lambda: apply_top_k_top_p(logits.clone(), None, share)
