"""What is said of a run's figures, and what is said only where it matters."""

from typing import Any

import pytest

from xpoll.report.metrics import EngineFigures
from xpoll.report.wording import prefix_sentences


def figures(**more: Any) -> EngineFigures:
    return EngineFigures(backend="vllm", model="m", device="cpu", prompt_order="persona_first", **more)


def test_nothing_is_said_of_a_cache_that_nothing_is_known_of() -> None:
    assert list(prefix_sentences(figures())) == []


def test_the_measured_share_stands_beside_the_predicted_one_and_what_a_label_costs() -> None:
    told = figures(
        cached_share=0.846,
        predicted_cached_share=0.839,
        uncached_tokens_per_label=312.4,
        predicted_uncached_tokens_per_label=320.0,
    )
    (sentence,) = prefix_sentences(told)
    assert sentence == (
        "prefix cache: predicted 83.9 %, measured 84.6 % (persona_first); "
        "312.4 uncached prompt tokens a label (predicted 320)"
    )


@pytest.mark.parametrize(("measured", "warned"), [(0.80, False), (0.76, False), (0.70, True), (0.0, True)])
def test_a_share_far_below_the_prediction_is_a_warning(measured: float, warned: bool) -> None:
    sentences = list(prefix_sentences(figures(cached_share=measured, predicted_cached_share=0.85)))
    assert (len(sentences) == 2) == warned
    if warned:
        assert sentences[1].startswith(f"warning: the prefix cache held {100 * (0.85 - measured):.0f} points less")
