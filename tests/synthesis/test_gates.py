"""Each gate takes out what it is for, and lets pass what only looks like it."""

import pytest

from xpoll.core.errors import ConfigError
from xpoll.synthesis.gates.gate import Candidate
from xpoll.synthesis.gates.registry import GATES, checks_of, problem_of
from xpoll.synthesis.template import load_templates

(TEMPLATE,) = load_templates(["labelled_text"])
ASKED = "You are a beekeeper who sells honey at the market of a small town. Write one short text of the category."


def candidate(text: str, *, label: str | None = "card_arrival", number: int = 0, reason: str = "stop") -> Candidate:
    return Candidate(f"t-{number}", text, label, TEMPLATE, ASKED, reason, 99)


def stopped_by(text: str, settings: dict[str, object] | None = None, **more: object) -> str | None:
    problem = problem_of(candidate(text, **more), checks_of(settings or {}, ["card_arrival", "top_up"]))  # type: ignore[arg-type]
    return problem and problem.partition(":")[0]


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't assist with that.",
        "I cannot fulfill your request, as it is harmful.",
        "As an AI language model, I have no bank account, but here goes.",
        "I\u2019m sorry, I can\u2019t help you with this.",
        "I am unable to provide that kind of message.",
        "Unfortunately, I can't write this text for you.",
        "I must respectfully decline.",
        "Sure, I'd be happy to assist.",
        "I'm here to help. I can handle it.",
    ],
)
def test_refusals_are_taken_out(text: str) -> None:
    assert stopped_by(text) == "refusal"


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry I missed your call, can you ring me again?",
        "I can't create an account, the button does nothing.",
        "Unfortunately I cannot complete my transfer since Monday.",
        "I am unable to verify my identity, what now?",
        "My apologies if this was asked before: when does it come?",
        "I won't answer the phone, please write to me.",
        "Who is here to help me with a lost card?",
    ],
)
def test_what_people_say_is_no_refusal(text: str) -> None:
    assert stopped_by(text) is None


@pytest.mark.parametrize(
    ("text", "leaks"),
    [
        ("Is this about Card Arrival again?", True),
        ("card_arrival: where is it?", True),
        ("Has my card-arrival been delayed?", True),
        ("When will my card arrive at last?", False),
        ("My discard arrivals are late today", False),
        ("Please top up my account today", False),
    ],
)
def test_the_name_of_the_label_must_not_stand_in_a_text(text: str, leaks: bool) -> None:
    assert stopped_by(text) == ("leakage" if leaks else None)
    assert stopped_by(text, label=None) is None


def test_other_labels_count_only_where_the_job_says_so() -> None:
    assert stopped_by("Please top up my account today", {"leakage": {"any_label": True}}) == "leakage"


def test_echo_is_the_request_said_again() -> None:
    assert stopped_by("You are a beekeeper who sells honey at the market of a small town.") == "echo"
    assert stopped_by("I sell honey at the market, where is my new card?") is None


def test_length_is_that_of_the_template_or_the_job() -> None:
    assert stopped_by("too short") == "length"
    assert stopped_by("x" * 1001) == "length"
    assert stopped_by("too short", {"length": {"least_chars": 5}}) is None


def test_an_answer_that_was_cut_off_is_taken_out() -> None:
    assert stopped_by("Where is my card that was", reason="length") == "complete"
    assert stopped_by("Where is my card that was", {"complete": False}, reason="length") is None


def test_of_copies_the_first_is_kept() -> None:
    checks = checks_of({}, [])
    texts = ["Where is the new card of mine?", "where is  the new card of MINE?", "Where is the new card of mine??"]
    found = [problem_of(candidate(text, number=i), checks) for i, text in enumerate(texts)]
    assert found[0] is None
    assert found[1] == "duplicates: the same text as t-0"
    assert str(found[2]).startswith("near_duplicates: similar to t-0 (0.")


def test_another_language_is_taken_out_where_the_job_asks_for_one() -> None:
    pytest.importorskip("py3langid")
    german = "Wann kommt denn endlich meine neue Karte, ich warte seit zwei Wochen darauf?"
    assert stopped_by(german) is None
    assert stopped_by(german, {"language": {"expected": "en"}}) == "language"
    assert stopped_by(german, {"language": {"expected": "de"}}) is None
    with pytest.raises(ConfigError, match="'xx' is not known"):
        checks_of({"language": {"expected": "xx"}}, [])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"lenght": {}}, "did you mean length"),
        ({"length": {"most": 3}}, "unknown config key synthesis.gates.length.most"),
        ({"length": 3}, "must be a table of settings, true or false"),
        ({"near_duplicates": {"similarity": 0.1}}, "synthesis.gates.near_duplicates.similarity"),
    ],
)
def test_wrong_settings_are_one_line(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        checks_of(settings, [])
    assert said in str(raised.value)


def test_a_gate_may_be_left_out_and_all_may_be_named() -> None:
    assert [name for name, _ in checks_of({"echo": False, "language": True}, [])] == [n for n in GATES if n != "echo"]
