"""Where the time of an engine's steps goes, from a trace that PyTorch's profiler wrote: shares by kind of operator."""

import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

KINDS: dict[str, tuple[str, ...]] = {
    "multiplications": ("addmm", "aten::mm", "linear", "matmul", "gemm", "mkldnn", "onednn"),
    "attention": ("attention", "reshape_and_cache", "kv_cache"),
    "norms, activations, rotary": ("norm", "silu", "gelu", "mul_and", "rotary"),
    "embedding": ("embedding",),
    "logprobs and sampling": ("softmax", "topk", "sort", "argmax", "gather", "exponential", "multinomial", "cumsum"),
}
"""Kind of work to what its operators' names hold; the first that fits counts, what fits none is "other operators"."""
OTHER, BETWEEN = "other operators", "between operators"


class Span(NamedTuple):
    """One operator of a thread: its name, and when it began and ended, in microseconds."""

    name: str
    begun_us: float
    ended_us: float


def trace_shares(folder: Path) -> dict[str, float]:
    """Shares of the time between the first and the last operator of the busiest thread, by kind; they sum to 1.

    "between operators" is the time in which that thread computes nothing: Python, scheduling, other processes.

    Args:
        folder: Holds the traces of one session, *.json or *.json.gz.

    Raises:
        ValueError: no trace has an operator.
    """
    traces = [_read(path) for path in sorted(folder.rglob("*.json*"))]
    threads = [spans for trace in traces for spans in _threads(trace).values()]
    if not threads:
        raise ValueError(f"{folder} holds no trace with operators")
    return shares_of(max(threads, key=lambda spans: sum(_own(spans).values())))


def shares_of(spans: Iterable[Span]) -> dict[str, float]:
    """Shares of the time between the first and the last operator of one thread, by kind."""
    found = sorted(spans, key=lambda span: (span.begun_us, -span.ended_us))
    whole_us = max(span.ended_us for span in found) - found[0].begun_us
    totals = dict.fromkeys([*KINDS, OTHER], 0.0)
    for name, own_us in _own(found).items():
        totals[_kind(name)] += own_us
    return {kind: us / whole_us for kind, us in totals.items()} | {BETWEEN: 1 - sum(totals.values()) / whole_us}


def _own(spans: Iterable[Span]) -> dict[str, float]:
    """Time of each operator without that of operators within it, by name, in microseconds."""
    own: dict[str, float] = {}
    above: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.begun_us, -span.ended_us)):
        while above and above[-1].ended_us <= span.begun_us:
            above.pop()
        length = span.ended_us - span.begun_us
        own[span.name] = own.get(span.name, 0.0) + length
        if above:
            own[above[-1].name] -= length
        above.append(span)
    return own


def _kind(name: str) -> str:
    lower = name.lower()
    return next((kind for kind, parts in KINDS.items() if any(part in lower for part in parts)), OTHER)


def _threads(trace: Mapping[str, Any]) -> dict[tuple[Any, Any], list[Span]]:
    threads: dict[tuple[Any, Any], list[Span]] = {}
    for event in trace.get("traceEvents", ()):
        if event.get("ph") == "X" and event.get("cat") == "cpu_op":
            span = Span(event["name"], event["ts"], event["ts"] + event["dur"])
            threads.setdefault((event["pid"], event["tid"]), []).append(span)
    return threads


def _read(path: Path) -> dict[str, Any]:
    packed = path.read_bytes()
    read: dict[str, Any] = json.loads(gzip.decompress(packed) if path.suffix == ".gz" else packed)
    return read
