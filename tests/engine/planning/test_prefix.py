"""The predicted cache share is that of a cache simulated block by block."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.lru_cache import cached_tokens
from xpoll.engine.planning.prefix import Cache, Prediction, predict_cache_hits, sample_of

Prompts = list[list[list[str]]]


def words(name: str, number: int) -> list[str]:
    return [f"{name}{i}" for i in range(number)]


def variants_first(head: int, variants: list[int], documents: list[int], end: int) -> Prompts:
    """[document][variant]: what all share, the variant, the document, an end that all share."""
    return [
        [words("h", head) + words(f"v{v}-", a) + words(f"d{d}-", b) + words("e", end) for v, a in enumerate(variants)]
        for d, b in enumerate(documents)
    ]


def documents_first(head: int, variants: list[int], documents: list[int], end: int) -> Prompts:
    return [
        [words("h", head) + words(f"d{d}-", b) + words(f"v{v}-", a) + words("e", end) for v, a in enumerate(variants)]
        for d, b in enumerate(documents)
    ]


def simulated(prompts: Prompts, *, repeats: int = 1, workers: int = 1, **cache: int | None) -> int:
    shares = [prompts[worker::workers] for worker in range(workers)]
    return sum(
        cached_tokens([prompt for document in share for prompt in document for _ in range(repeats)], **cache)  # type: ignore[arg-type]
        for share in shares
    )


def tokens_in(prompts: Prompts) -> int:
    return sum(len(prompt) for document in prompts for prompt in document)


SHAPES = {
    "head": st.integers(0, 40),
    "variants": st.lists(st.integers(1, 40), min_size=1, max_size=5),
    "documents": st.lists(st.integers(1, 60), min_size=1, max_size=6),
    "end": st.integers(0, 6),
}


@pytest.mark.parametrize("order", [variants_first, documents_first])
@settings(max_examples=80, deadline=None)
@given(
    shape=st.fixed_dictionaries(SHAPES),
    block=st.integers(1, 16),
    repeats=st.integers(1, 3),
    in_flight=st.integers(1, 9),
)
def test_in_a_cache_without_bounds_the_prediction_is_exact(
    order: Callable[..., Prompts], shape: dict[str, Any], block: int, repeats: int, in_flight: int
) -> None:
    prompts = order(**shape)
    predicted = predict_cache_hits(sample_of(prompts), Cache(block), documents=len(prompts), repeats=repeats)
    assert predicted.prompt_tokens == repeats * tokens_in(prompts)
    assert predicted.cached_tokens == simulated(prompts, repeats=repeats, block=block, in_flight=in_flight)
    assert predicted.fits is None


@settings(max_examples=60, deadline=None)
@example(variants=[1, 1, 1, 1, 2], document=1, block=11, repeats=1, output_tokens=0, in_flight=1, number=4)
@given(
    variants=st.lists(st.integers(1, 40), min_size=2, max_size=5),
    document=st.integers(1, 60),
    block=st.integers(1, 16),
    repeats=st.integers(1, 3),
    output_tokens=st.integers(0, 20),
    in_flight=st.integers(1, 40),
    number=st.integers(0, 400),
)
def test_in_a_small_cache_the_prediction_is_short_by_at_most_one_variant_s_blocks_and_those_not_kept(
    variants: list[int],
    document: int,
    block: int,
    repeats: int,
    output_tokens: int,
    in_flight: int,
    number: int,
) -> None:
    prompts = variants_first(20, variants, [document] * 6, 4)
    of_a_prompt = -(-max(len(prompt) + output_tokens for prompt in prompts[0]) // block)
    # The prediction counts a block that the end of a prompt does not fill as any other; vLLM keeps none of these and
    # takes them first, so that one prompt after the other may do with the same block.
    not_kept = sum(-(-(len(prompt) + output_tokens) // block) - len(prompt) // block for prompt in prompts[0])
    number += of_a_prompt

    def predicted(num_blocks: int) -> Prediction:
        cache = Cache(block, num_blocks)
        return predict_cache_hits(sample_of(prompts), cache, documents=6, repeats=repeats, output_tokens=output_tokens)

    measured = simulated(
        prompts, repeats=repeats, block=block, num_blocks=number, output_tokens=output_tokens, in_flight=in_flight
    )
    most = predicted(number + repeats * (of_a_prompt + not_kept)).cached_tokens
    assert predicted(number).cached_tokens <= measured <= most
    if predicted(number).fits:
        assert measured == predicted(10**9).cached_tokens


def test_every_engine_computes_every_prefix_once() -> None:
    prompts = variants_first(30, [50, 60, 70], [20] * 8, 4)
    predicted = predict_cache_hits(sample_of(prompts), Cache(16), documents=8, workers=4)
    assert predicted.cached_tokens == simulated(prompts, workers=4, block=16)
    assert predicted.cached_tokens < predict_cache_hits(sample_of(prompts), Cache(16), documents=8).cached_tokens


def test_a_sample_stands_for_documents_that_are_like_it() -> None:
    prompts = documents_first(30, [5, 9], [20 + d % 3 for d in range(60)], 4)
    predicted = predict_cache_hits(sample_of(prompts[:12]), Cache(16), documents=60)
    assert predicted.prompt_tokens == tokens_in(prompts)
    assert predicted.cached_tokens == simulated(prompts, block=16)


def worded(wordings: int, documents: int) -> tuple[Prompts, list[list[tuple[int, int]]]]:
    """Three variants, each worded in one of several ways that the document decides."""
    prompts, prefix_of = [], []
    for d in range(documents):
        names = [(v, (d * 7 + v) % wordings) for v in range(3)]
        ends = words(f"d{d}-", 20) + words("e", 4)
        prompts.append([words("h", 20) + words(f"v{v}w{w}-", 50 + 10 * v) + ends for v, w in names])
        prefix_of.append(names)
    return prompts, prefix_of


@pytest.mark.parametrize("wordings", [1, 2, 3, 4])
@pytest.mark.parametrize("repeats", [1, 2])
def test_every_wording_is_a_prefix_of_its_own(wordings: int, repeats: int) -> None:
    prompts, prefix_of = worded(wordings, 24)
    predicted = predict_cache_hits(sample_of(prompts, prefix_of), Cache(16), documents=24, repeats=repeats)
    assert predicted.cached_tokens == simulated(prompts, repeats=repeats, block=16)
    longer, prefix_of_longer = worded(wordings, 96)
    predicted = predict_cache_hits(sample_of(longer[:24], prefix_of_longer[:24]), Cache(16), documents=96)
    assert predicted.cached_tokens == simulated(longer, block=16)


def test_more_wordings_need_more_of_the_cache() -> None:
    prompts, prefix_of = worded(3, 24)
    blocks = 40
    few = predict_cache_hits(sample_of(prompts, prefix_of), Cache(16, blocks), documents=24)
    assert few.fits is False
    assert few.cached_tokens <= simulated(prompts, block=16, num_blocks=blocks)
    one_wording, _ = worded(1, 24)
    assert predict_cache_hits(sample_of(one_wording), Cache(16, blocks), documents=24).fits


@settings(max_examples=60, deadline=None)
@given(
    personas=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    documents=st.lists(st.integers(1, 60), min_size=1, max_size=5),
    questions=st.lists(st.integers(1, 12), min_size=2, max_size=6),
    block=st.integers(1, 16),
    text_first=st.booleans(),
)
def test_questions_about_a_text_share_it_with_those_of_the_same_persona(
    personas: list[int], documents: list[int], questions: list[int], block: int, text_first: bool
) -> None:
    prompts: Prompts = []
    prefix_of = []
    for d, text in enumerate(documents):
        parts = [(words(f"v{v}-", persona), words(f"d{d}-", text)) for v, persona in enumerate(personas)]
        shared = [words("h", 9) + (b + a if text_first else a + b) for a, b in parts]
        prompts.append([each + words(f"q{q}-", asked) for each in shared for q, asked in enumerate(questions)])
        prefix_of.append([0 if text_first else v for v in range(len(personas)) for _ in questions])
    predicted = predict_cache_hits(sample_of(prompts, prefix_of), Cache(block), documents=len(prompts))
    assert predicted.prompt_tokens == tokens_in(prompts)
    assert predicted.cached_tokens == simulated(prompts, block=block)
