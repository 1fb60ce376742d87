"""Predicts the hits of the engine's prefix cache from token counts alone: pure arithmetic.

Documents run one after the other, each in the same variants (personas), each variant several times (samples).
The text before the document in a variant is its prefix. It may have several wordings of which each document
gets one (labels named in another order); then each wording is a prefix of its own.
The rules of vLLM's cache that decide the counts (vllm/v1/core/kv_cache_manager.py):

* Only whole blocks are reused, and at least the last token of a prompt is computed.
* A block counts as cached once its prompt is scheduled, so of prompts that are sent together only the first
  computes the shared blocks.
* The least recently used blocks are evicted first, those at the end of a prompt before those at its start.

The tokens that a document's prompts share are reused at once and so are never evicted. A prefix is needed
again only by the next document that has it: it stays if all blocks that the documents in between touch fit
into the KV cache. More prompts in flight change nothing: where they fill the cache, the engine runs fewer,
but as long as the prompts of one document fit, a running prompt holds every variant.

Running variant by variant would reuse prefixes that do not fit together. That is not done: a stop rule needs
the answers of a document together, so documents are the unit of dispatch.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import mean
from typing import NamedTuple

Tokens = Sequence[Hashable]

WORTH = 0.5
"""Share of the computed tokens that another order must save to be chosen. High, because the same parts in another
order get other answers: with SmolLM2-135M much worse ones (docs/explanation/prefixes.md)."""


class Asked(NamedTuple):
    """One prompt of a document.

    Attributes:
        length: Its tokens.
        prefix: Number of its prefix.
        shared: Tokens that it shares with an earlier prompt of the document.
    """

    length: int
    prefix: int
    shared: int


@dataclass(frozen=True, slots=True)
class Sample:
    """Token counts of some documents' prompts in one order.

    Attributes:
        documents: The prompts of each document; the `shared` of each first one is 0.
        prefixes: Length of each prefix in tokens, the same for all documents.
        by_all: Number of leading tokens that all prompts share.
    """

    documents: tuple[tuple[Asked, ...], ...]
    prefixes: tuple[int, ...]
    by_all: int


def sample_of(prompts: Sequence[Sequence[Tokens]], prefix_of: Sequence[Sequence[Hashable]] | None = None) -> Sample:
    """Counts the tokens of prompts, [document][variant].

    Args:
        prompts: The prompts of each document, each variant once.
        prefix_of: A key of the text before the document in each prompt: prompts with the same key share a
            prefix. Without it each variant has one prefix, the same for all documents.
    """
    given = prefix_of or [range(len(document)) for document in prompts]
    number: dict[Hashable, int] = {}
    of_prefix: list[list[Tokens]] = []
    having: list[int] = []  # documents that have each prefix
    documents = []
    by_all = _shared(document[0] for document in prompts)
    for document, names in zip(prompts, given, strict=True):
        earlier: _Tree = {}
        asked = []
        for tokens, name in zip(document, names, strict=True):
            if name not in number:
                number[name] = len(of_prefix)
                of_prefix.append([])
                having.append(0)
            of_prefix[number[name]].append(tokens)
            by_all = min(by_all, _common(document[0], tokens))
            asked.append(Asked(len(tokens), number[name], _joined(earlier, tokens)))
        for name in set(names):
            having[number[name]] += 1
        documents.append(tuple(asked))
    # A prefix that only one document of the sample has cannot be separated from it: take the others' mean.
    can_tell = [number > 1 or len(prompts) == 1 for number in having]
    known = [_shared(each) for each, told in zip(of_prefix, can_tell, strict=True) if told]
    alone = round(mean(known)) if known else by_all
    prefixes = [_shared(each) if told else alone for each, told in zip(of_prefix, can_tell, strict=True)]
    return Sample(tuple(documents), tuple(prefixes), by_all)


_Tree = dict[Hashable, "_Tree"]
"""The tokens that can follow, each with what can follow it."""


def _joined(tree: _Tree, tokens: Tokens) -> int:
    """How many leading tokens are in the tree already; the others join it."""
    shared = 0
    for token in tokens:
        if token in tree:
            shared += 1
        else:
            tree[token] = {}
        tree = tree[token]
    return shared


def _shared(prompts: Iterable[Tokens]) -> int:
    first, *others = prompts
    return min((_common(first, other) for other in others), default=len(first))


def _common(first: Tokens, second: Tokens) -> int:
    pairs = zip(first, second, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))


class Cache(NamedTuple):
    """The KV cache of one engine.

    Attributes:
        block_size: Tokens per block.
        num_blocks: Number of blocks; None where it is not known before the start.
        reuses_prefixes: Whether prefix caching is on.
    """

    block_size: int
    num_blocks: int | None = None
    reuses_prefixes: bool = True


class Prediction(NamedTuple):
    """Token counts of a run.

    Attributes:
        prompts: Number of prompts.
        prompt_tokens: Tokens of all prompts.
        cached_tokens: Tokens of these that the prefix cache holds.
        fits: Whether all prefixes stay cached; None where the size of the cache is not known.
    """

    prompts: int
    prompt_tokens: int
    cached_tokens: int
    fits: bool | None

    @property
    def computed_tokens(self) -> int:
        """Prompt tokens that the engine computes."""
        return self.prompt_tokens - self.cached_tokens

    @property
    def cached_share(self) -> float:
        """Share of the prompt tokens that the prefix cache holds, 0 to 1."""
        return self.cached_tokens / self.prompt_tokens


def predict_cache_hits(
    sample: Sample, cache: Cache, *, documents: int, repeats: float = 1, output_tokens: int = 0, workers: int = 1
) -> Prediction:
    """Token counts of a run if every prompt is asked; where the cache's size is not known, all prefixes fit.

    Args:
        sample: Some of the documents; the others are assumed to be alike.
        cache: The KV cache of each engine.
        documents: Number of documents.
        repeats: Number of samples per prompt.
        output_tokens: Most tokens per answer.
        workers: Number of engines; each computes every prefix once.
    """
    block = cache.block_size
    whole = [tokens // block for tokens in sample.prefixes]
    kept = whole
    if cache.num_blocks is not None:
        # A prefix loses its last blocks first, one for each missing block.
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
    """Blocks touched from one use of a prefix to the next, shared ones counted once.

    These are all prefixes, and the other blocks of the prompts and answers of the documents in between.
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
    """Cached tokens of each prompt of a document, given the blocks kept of each prefix."""
    for asked in document:
        most = (asked.length - 1) // block  # the last token is always computed
        yield (min(max(kept[asked.prefix], asked.shared // block), most) + (repeats - 1) * most) * block


def _missed(sample: Sample, kept: Sequence[int], block: int) -> int:
    """Tokens that one engine computes because a prefix occurs for the first time."""
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
    """The order of the prompts' parts, and the reason: the first one, unless another saves a share of WORTH.

    Args:
        predictions: Token counts by order, the preferred order first.
    """
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
