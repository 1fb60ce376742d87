"""How much of a run's prompts the engine's prefix cache spares, from token counts alone: pure arithmetic.

Documents are asked about one after the other, each in the same variants, each variant some times over.
What stands before the document in a variant is its prefix; it may be worded in several ways, of which each
document gets one (labels named in another order), and then each wording is a prefix of its own.
The rules of vLLM's cache that decide the counts (vllm/v1/core/kv_cache_manager.py):

* Only whole blocks are reused, and at least the last token of a prompt is computed.
* A block counts as cached when its prompt is scheduled, so that of prompts handed over together only
  the first computes what they share.
* The blocks used least recently go first, those at the end of a prompt before those at its beginning.

What a document's prompts share is reused at once and so always stays. A prefix is needed again only when
the next document comes that has it: it stays if all that the documents up to there touch fits into the
KV cache. More prompts in flight change nothing about that: where they fill the cache, the
engine lets fewer run, but as long as one document's fit, every variant is held by a prompt that runs.

Asking variant by variant would reuse prefixes that do not fit together. It is not done: a stop rule
needs a document's answers together, and so documents are what is handed to a worker.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import mean
from typing import NamedTuple

Tokens = Sequence[Hashable]

WORTH = 0.5
"""Share of the computed tokens that another order must save to be taken. High, because answers to the same parts in
another order are other answers: with SmolLM2-135M they are much worse (docs/prefixes.md)."""


class Asked(NamedTuple):
    """One prompt of a document: its tokens, the number of its prefix, and what it shares with the document's first."""

    length: int
    prefix: int
    shared: int


@dataclass(frozen=True, slots=True)
class Sample:
    """Token counts of some documents' prompts in one order.

    Attributes:
        documents: The prompts of each document; the first one of each shares nothing with an earlier one.
        prefixes: Tokens that the prompts of each prefix begin with, whatever the document.
        by_all: Tokens that all prompts begin with.
    """

    documents: tuple[tuple[Asked, ...], ...]
    prefixes: tuple[int, ...]
    by_all: int


def sample_of(prompts: Sequence[Sequence[Tokens]], prefix_of: Sequence[Sequence[Hashable]] | None = None) -> Sample:
    """Counts the tokens of prompts, [document][variant].

    Args:
        prompts: The prompts of each document, each variant once.
        prefix_of: What stands before the document in each of them: prompts of which it is the same share
            a prefix. Without it every variant has one of its own, the same for all documents.
    """
    given = prefix_of or [range(len(document)) for document in prompts]
    number: dict[Hashable, int] = {}
    of_prefix: list[list[Tokens]] = []
    documents = []
    for document, names in zip(prompts, given, strict=True):
        asked = []
        for i, (tokens, name) in enumerate(zip(document, names, strict=True)):
            if name not in number:
                number[name] = len(of_prefix)
                of_prefix.append([])
            of_prefix[number[name]].append(tokens)
            asked.append(Asked(len(tokens), number[name], _common(document[0], tokens) if i else 0))
        documents.append(tuple(asked))
    by_all = _shared(document[0] for document in prompts)
    by_all = min([by_all, *(asked.shared for document in documents for asked in document[1:])])
    # A prefix that one prompt of the sample has cannot be told from its document; others are about as long.
    known = [_shared(each) for each in of_prefix if len(each) > 1 or len(prompts) == 1]
    alone = round(mean(known)) if known else by_all
    prefixes = [_shared(each) if len(each) > 1 or len(prompts) == 1 else alone for each in of_prefix]
    return Sample(tuple(documents), tuple(prefixes), by_all)


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


def predict_cache_hits(
    sample: Sample, cache: Cache, *, documents: int, repeats: float = 1, output_tokens: int = 0, workers: int = 1
) -> Prediction:
    """What a run's prompts cost if every one is asked; where the cache's size is not known, all prefixes fit.

    Args:
        sample: Some of the documents; the others are taken to be like them.
        cache: The KV cache of each engine.
        documents: Number of documents.
        repeats: How many times each of a document's prompts is asked.
        output_tokens: Most tokens of an answer.
        workers: Number of engines; each computes every prefix once.
    """
    block = cache.block_size
    whole = [tokens // block for tokens in sample.prefixes]
    kept = whole
    if cache.num_blocks is not None:
        # A prefix loses its last blocks first, one for each block that there is too little of.
        missing = max(0, ceil(_touched(sample, block, repeats, output_tokens) - cache.num_blocks))
        kept = [max(sample.by_all // block, prefix - missing) for prefix in whole]
    later = mean(sum(_cached(document, kept, block, repeats)) for document in sample.documents)
    cached = documents * later - min(workers, documents) * _missed(sample, kept, block) if cache.reuses_prefixes else 0
    asked = documents * repeats
    return Prediction(
        prompts=round(asked * mean(map(len, sample.documents))),
        prompt_tokens=round(asked * mean(sum(each.length for each in document) for document in sample.documents)),
        cached_tokens=round(cached),
        fits=None if cache.num_blocks is None else kept == whole,
    )


def _touched(sample: Sample, block: int, repeats: float, output_tokens: int) -> float:
    """Blocks that are used from one use of a prefix to the next, those that are shared counted once.

    That is all prefixes, and what else the prompts and answers of the documents in between hold.
    """
    by_all = sample.by_all // block
    beyond = [prefix // block - by_all for prefix in sample.prefixes]
    own: list[float] = []
    for document in sample.documents:
        blocks = [-(-(each.length + output_tokens) // block) for each in document]
        again = sum((repeats - 1) * (n - (each.length - 1) // block) for n, each in zip(blocks, document, strict=True))
        shared = sum(each.shared // block for each in document)
        used = by_all + sum(beyond[prefix] for prefix in {each.prefix for each in document})
        own.append(sum(blocks) + again - shared - used)
    uses = sum(len({each.prefix for each in document}) for document in sample.documents)
    documents_between = len(sample.documents) * len(sample.prefixes) / uses
    return by_all + sum(beyond) + documents_between * mean(own)


def _cached(document: Sequence[Asked], kept: Sequence[int], block: int, repeats: float) -> Iterator[float]:
    """Tokens of each of a document's prompts that are not computed, given the blocks kept of each prefix."""
    for asked in document:
        most = (asked.length - 1) // block  # the last token is always computed
        yield (min(max(kept[asked.prefix], asked.shared // block), most) + (repeats - 1) * most) * block


def _missed(sample: Sample, kept: Sequence[int], block: int) -> int:
    """Tokens that one engine computes because a prefix is there for the first time."""
    seen: set[int] = set()
    missed = 0
    for asked in (asked for document in sample.documents for asked in document):
        if asked.prefix not in seen:
            there = max(asked.shared, sample.by_all if seen else 0) // block
            most = (asked.length - 1) // block
            missed += (min(max(kept[asked.prefix], there), most) - min(there, most)) * block
            seen.add(asked.prefix)
    return missed


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
