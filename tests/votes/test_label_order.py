"""Each label stands equally often in each place, and a preference for a place is seen and sized."""

import math
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xpoll.core.config.file import load_config
from xpoll.core.config.job import Config
from xpoll.core.records import Document, Key, Prompt, Vote
from xpoll.personas.label_order import Shown, position_bias, rotated, shown_orders
from xpoll.personas.persona import load_panel
from xpoll.personas.prompts import build_prompts
from xpoll.votes.ballots import ballots_of
from xpoll.votes.methods.calibration import calibrated

LABELS = ["negative", "neutral", "positive"]
PERSONAS = ["annotator", "auditor", "credit_analyst"]

JOB = f"""
[documents]
path = "texts.csv"
[task]
labels = {{negative = "it falls", neutral = "it stays", positive = "it rises"}}
examples = [{{text = "Up.", label = "positive"}}]
[panel]
personas = {PERSONAS}
label_order = "permuted"
"""


def shown(labels: list[str] = LABELS, *, personas: list[str] = PERSONAS, seed: int = 5) -> Shown:
    orders = shown_orders(labels, "permuted", personas, "persona_first", seed=seed)
    assert orders is not None
    return orders


label_lists = st.lists(st.text(), min_size=2, max_size=7, unique=True)


@given(label_lists, st.text(), st.integers(0, 50), st.integers())
def test_a_row_of_samples_or_of_personas_names_each_label_once_in_each_place(
    labels: list[str], document_id: str, first: int, seed: int
) -> None:
    personas = [f"p{i}" for i in range(len(labels))]
    orders = shown(labels, personas=personas, seed=seed)
    by_sample = [orders.rotation(Key(document_id, "p0", first + i)) for i in range(len(labels))]
    by_persona = [orders.rotation(Key(document_id, persona, first)) for persona in personas]
    for rotations in (by_sample, by_persona):
        seen = [rotated(labels, rotation) for rotation in rotations]
        assert all(sorted(order) == sorted(labels) for order in seen)
        assert all(len(set(place)) == len(labels) for place in zip(*seen, strict=True))


def test_an_order_is_the_same_on_every_machine() -> None:
    orders = shown(seed=0)
    assert [orders.rotation(Key("7", persona, 0)) for persona in PERSONAS] == [1, 2, 0]
    assert orders.rotation(Key("7", "annotator", 1)) == 2
    assert rotated(LABELS, 2) == ["positive", "negative", "neutral"]


def test_over_documents_and_seeds_places_are_equally_frequent() -> None:
    documents = Counter(shown().rotation(Key(str(i), "annotator", 0)) for i in range(3000))
    seeds = Counter(shown(seed=i).rotation(Key("d", "annotator", 0)) for i in range(3000))
    for many in (documents, seeds):
        # Mean 1000, standard deviation 26.
        assert all(abs(count - 1000) < 105 for count in many.values()), many


def config_of(tmp_path: Path, *overrides: str) -> Config:
    (tmp_path / "job.toml").write_text(JOB)
    return load_config(tmp_path / "job.toml", list(overrides))


def prompts_of(config: Config, order: str = "persona_first") -> list[Prompt]:
    documents = [Document(str(i), f"Text {i}.", "train") for i in range(30)]
    return list(build_prompts(documents, load_panel(PERSONAS), config, order))  # type: ignore[arg-type]


def named(prompt: Prompt) -> list[str]:
    line = prompt.messages[0]["content"].rpartition("Answer with one of: ")[2]
    return line.rstrip(".").split(", ")


@pytest.mark.parametrize("samples", [1, 3])
def test_prompts_name_the_labels_in_the_orders_that_votes_are_counted_by(tmp_path: Path, samples: int) -> None:
    config = config_of(tmp_path, f"panel.samples={samples}")
    orders = shown(seed=config.job.seed)
    prompts = prompts_of(config)
    for prompt in prompts:
        assert named(prompt) == rotated(LABELS, orders.rotation(prompt.key))
        described = prompt.messages[0]["content"]
        assert sorted(LABELS, key=lambda label: described.index(f" {label}: it ")) == named(prompt)
        assert prompt.answer.choices == tuple(LABELS), "answers are read in the task's order"
    assert prompts == prompts_of(config), "a run that goes on asks the same"
    assert len({tuple(message["content"] for message in prompt.messages[:-1]) for prompt in prompts}) == 9


def test_with_the_text_first_all_personas_of_a_text_are_shown_one_order(tmp_path: Path) -> None:
    by_text: dict[str, set[str]] = {}
    for prompt in prompts_of(config_of(tmp_path), "text_first"):
        by_text.setdefault(prompt.document_id, set()).add(prompt.messages[0]["content"])
    assert all(len(heads) == 1 for heads in by_text.values())
    assert len(set.union(*by_text.values())) == 3


def test_in_fixed_order_every_prompt_names_the_labels_as_the_task_does(tmp_path: Path) -> None:
    prompts = prompts_of(config_of(tmp_path, "panel.label_order=fixed"))
    assert all(named(prompt) == LABELS for prompt in prompts)
    assert shown_orders(LABELS, "fixed", PERSONAS, "persona_first", seed=0) is None


def votes(*, first_place: float, documents: int = 2000) -> list[Vote]:
    """Truth is positive for nine of ten; with the given probability whatever is named first is said instead."""
    rng = random.Random(1)
    cast = []
    for i in range(documents):
        truth = "positive" if i % 10 else "neutral"
        said = LABELS[shown().rotation(Key(str(i), "auditor", 0))] if rng.random() < first_place else truth
        cast.append(Vote(str(i), "auditor", 0, said))
    return cast


def test_skewed_labels_are_no_bias() -> None:
    bias = position_bias(votes(first_place=0), {None: shown()})
    assert bias is not None
    assert sum(bias.counts) == 2000
    assert bias.p_value > 0.01
    assert bias.largest_gap < 0.03


def test_a_preference_for_the_first_place_is_seen_and_sized() -> None:
    bias = position_bias(votes(first_place=0.3), {None: shown()})
    assert bias is not None
    assert bias.p_value < 1e-6
    # Of the votes 30 % go to the first place and a third of the rest is there anyway.
    assert bias.shares[0] == pytest.approx(0.3 + 0.7 / 3, abs=0.03)
    other_seed = position_bias(votes(first_place=0.3), {None: shown(seed=6)})
    assert other_seed is not None
    assert other_seed.largest_gap < 0.05, "orders that were not shown tell nothing"


def test_votes_without_a_label_do_not_count() -> None:
    assert position_bias([], {None: shown()}) is None
    assert position_bias([Vote("d", "auditor", 0, None, "empty")], {None: shown()}) is None


def test_calibration_takes_out_a_preference_for_a_place() -> None:
    """The truth moves the log-probability less than the place does; each order's own mean takes the place out."""
    documents = [str(i) for i in range(300)]
    truth = {document_id: LABELS[i % 3] for i, document_id in enumerate(documents)}
    cast = []
    for document_id in documents:
        first = shown().rotation(Key(document_id, "auditor", 0))
        scores = [2.0 * (i == first) + 1.0 * (label == truth[document_id]) for i, label in enumerate(LABELS)]
        total = sum(2.718281828**score for score in scores)
        shares = tuple(2.718281828**score / total for score in scores)
        cast.append(Vote(document_id, "auditor", 0, LABELS[first], None, max(shares), shares))

    def right(orders: Shown | None) -> float:
        shares = calibrated(ballots_of(documents, cast, LABELS, shown={None: orders}))
        labels = [LABELS[i] for i in shares.argmax(1)]
        return sum(label == truth[name] for label, name in zip(labels, documents, strict=True)) / len(documents)

    assert right(shown()) > 0.95
    assert right(None) < 0.5


def chi_square_p(statistic: float, degrees: int) -> float:
    """The tail of the distribution as a finite sum (Abramowitz and Stegun, 26.4.4 and 26.4.5): what SciPy must give."""
    half = statistic / 2
    odd = degrees % 2
    tail = math.erfc(math.sqrt(half)) if odd else 0.0
    for i in range(degrees // 2):
        power = i + odd / 2
        if half > 0 or power == 0:
            tail += math.exp(-half + (power * math.log(half) if power else 0.0) - math.lgamma(power + 1))
    return min(1.0, tail)


# Critical values as printed in statistical tables.
AT_05 = [(3.841, 1, 0.05), (5.991, 2, 0.05), (7.815, 3, 0.05), (9.488, 4, 0.05), (18.307, 10, 0.05)]
AT_01 = [(6.635, 1, 0.01), (24.725, 11, 0.01)]


@pytest.mark.parametrize(("statistic", "degrees", "p"), AT_05 + AT_01)
def test_the_tail_agrees_with_the_tables(statistic: float, degrees: int, p: float) -> None:
    assert chi_square_p(statistic, degrees) == pytest.approx(p, rel=0.002)
    assert chi_square_p(0, degrees) == 1
    assert chi_square_p(5000, degrees) < 1e-300


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 400), min_size=2, max_size=12).filter(any))
def test_the_p_value_of_a_bias_is_that_tail(counts: list[int]) -> None:
    labels = [f"label {i}" for i in range(len(counts))]
    orders = Shown(tuple(labels), 0, {})
    votes = []
    for place, count in enumerate(counts):
        for i in range(count):
            key = Key(f"{place} {i}", "auditor", 0)
            votes.append(Vote(*key, labels[(orders.rotation(key) + place) % len(labels)]))
    bias = position_bias(votes, {None: orders})
    assert bias is not None
    assert bias.counts == counts
    expected = sum(counts) / len(counts)
    statistic = sum((count - expected) ** 2 for count in counts) / expected
    assert bias.chi_square == pytest.approx(statistic)
    assert bias.p_value == pytest.approx(chi_square_p(statistic, len(counts) - 1), rel=1e-9, abs=1e-300)
