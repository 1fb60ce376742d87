"""How much of a run's prompts the engine's prefix cache spares, from token counts alone: pure arithmetic.

Documents are asked about one after the other, each in the same variants, each variant some times over.
The rules of vLLM's cache that decide the counts (vllm/v1/core/kv_cache_manager.py):

* Only whole blocks are reused, and at least the last token of a prompt is computed.
* A block counts as cached when its prompt is scheduled, so that of prompts handed over together only
  the first computes what they share.
* The blocks used least recently go first, those at the end of a prompt before those at its beginning.

What a document's prompts share is reused at once and so always stays. What a variant's prompts share is
needed again only when the next document comes: it stays if all that one document's prompts touch fits
into the KV cache. More prompts in flight change nothing about that: where they fill the cache, the
engine lets fewer run, but as long as one document's fit, every variant is held by a prompt that runs.

Asking variant by variant would reuse prefixes that do not fit together. It is not done: a stop rule
needs a document's answers together, and so documents are what is handed to a worker.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import mean
from typing import NamedTuple

Tokens = Sequence[Hashable]

WORTH = 0.5
"""Share of the computed tokens that another order must save to be taken. High, because answers to the same parts in
another order are other answers: with SmolLM2-135M they are much worse (docs/prefixes.md)."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Token counts of some documents' prompts in one order.

    Attributes:
        lengths: Tokens of a prompt, [document][variant].
        by_variant: Tokens that a variant's prompts begin with, whatever the document.
        by_document: Tokens that a document's prompts begin with, whatever the variant.
        by_all: Tokens that all prompts begin with.
    """

    lengths: tuple[tuple[int, ...], ...]
    by_variant: tuple[int, ...]
    by_document: tuple[int, ...]
    by_all: int


def sample_of(prompts: Sequence[Sequence[Tokens]]) -> Sample:
    """Counts the tokens of prompts, [document][variant]; every document has all variants."""
    by_document = tuple(_shared(variants) for variants in prompts)
    by_variant = tuple(_shared(column) for column in zip(*prompts, strict=True))
    by_all = min(_shared(variants[0] for variants in prompts), *by_document)
    return Sample(tuple(tuple(map(len, variants)) for variants in prompts), by_variant, by_document, by_all)


def _shared(prompts: Iterable[Tokens]) -> int:
    first, *others = prompts
    return min((_common(first, other) for other in others), default=len(first))


def _common(first: Tokens, second: Tokens) -> int:
    pairs = zip(first, second, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))


class Cache(NamedTuple):
    """The KV cache of one engine; `num_blocks` is None where it is not known before the start."""

    block_size: int
    num_blocks: int | None = None
    reuses_prefixes: bool = True


class Prediction(NamedTuple):
    """Tokens of a run's prompts. `fits`: whether variants' prefixes stay cached; None where that is not known."""

    prompts: int
    prompt_tokens: int
    cached_tokens: int
    fits: bool | None

    @property
    def computed_tokens(self) -> int:
        return self.prompt_tokens - self.cached_tokens

    @property
    def cached_share(self) -> float:
        return self.cached_tokens / self.prompt_tokens


def predict(
    sample: Sample, cache: Cache, *, documents: int, repeats: int = 1, output_tokens: int = 0, workers: int = 1
) -> Prediction:
    """What a run's prompts cost if every one is asked; where the cache's size is not known, all prefixes fit.

    Args:
        sample: Some of the documents; the others are taken to be like them.
        cache: The KV cache of each engine.
        documents: Number of documents.
        repeats: How many times each variant is asked.
        output_tokens: Most tokens of an answer.
        workers: Number of engines; each computes every prefix once.
    """
    block = cache.block_size
    prefixes = [tokens // block for tokens in sample.by_variant]
    kept = prefixes
    if cache.num_blocks is not None:
        touched = mean(_touched(sample, d, block, repeats, output_tokens) for d in range(len(sample.lengths)))
        # A prefix loses its last blocks first, one for each block that there is too little of.
        missing = max(0, ceil(touched - cache.num_blocks))
        kept = [max(sample.by_all // block, prefix - missing) for prefix in prefixes]
    later = [_cached(sample, d, kept, block, repeats) for d in range(len(sample.lengths))]
    missed = later[0] - _cached(sample, 0, [0] * len(kept), block, repeats)
    cached = documents * mean(later) - min(workers, documents) * missed if cache.reuses_prefixes else 0
    return Prediction(
        prompts=documents * repeats * len(kept),
        prompt_tokens=round(documents * repeats * mean(map(sum, sample.lengths))),
        cached_tokens=round(cached),
        fits=None if cache.num_blocks is None else kept == prefixes,
    )


def _touched(sample: Sample, document: int, block: int, repeats: int, output_tokens: int) -> int:
    """Blocks that hold a document's prompts and answers, those that are shared counted once."""
    lengths = sample.lengths[document]
    blocks = [-(-(length + output_tokens) // block) for length in lengths]
    own = sum((repeats - 1) * (number - (length - 1) // block) for number, length in zip(blocks, lengths, strict=True))
    return sum(blocks) + own - (len(lengths) - 1) * (sample.by_document[document] // block)


def _cached(sample: Sample, document: int, kept: Sequence[int], block: int, repeats: int) -> int:
    """Tokens of a document's prompts that are not computed, given the blocks kept of each variant's prefix."""
    cached = 0
    for variant, (length, prefix) in enumerate(zip(sample.lengths[document], kept, strict=True)):
        most = (length - 1) // block  # the last token is always computed
        shared = max(prefix, sample.by_document[document] // block) if variant else prefix
        cached += min(shared, most) + (repeats - 1) * most
    return cached * block


def choose(predictions: Mapping[str, Prediction]) -> tuple[str, str]:
    """The order to ask in and why: the first one, unless another computes fewer tokens by a share of WORTH."""
    preferred, *others = predictions
    if not others:
        return preferred, "there is no other order"
    cheapest = min(others, key=lambda order: predictions[order].computed_tokens)
    saved = 1 - predictions[cheapest].computed_tokens / predictions[preferred].computed_tokens
    compared = (
        f"{cheapest} computes {100 * abs(saved):.0f} % {'fewer' if saved > 0 else 'more'} tokens than {preferred}"
    )
    if predictions[preferred].fits is False:
        compared = f"{compared}, whose prefixes do not all fit into the KV cache"
    if saved >= WORTH:
        return cheapest, compared
    return preferred, f"{compared}; another order must save {100 * WORTH:.0f} %"
