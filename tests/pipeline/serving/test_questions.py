"""Options are labels by their names; answers are read off one distribution, and an abstention is a refusal."""

import pytest
from openai.types import Decision

from xpoll.pipeline.serving.decisions import DecisionRequest, decision_response
from xpoll.pipeline.serving.questions import answer_to, predicate_about, question_about
from xpoll.pipeline.serving.request_error import RequestError
from xpoll.pipeline.serving.systemone import SystemOneRequest, systemone_response
from xpoll.pipeline.serving.text_label import TextLabel, TokensSpent

LABELS = ("bad", "fair", "good")
SAID = TextLabel("good", (0.1, 0.3, 0.6), "student", TokensSpent(7))
TIE = TextLabel(None, (0.4, 0.2, 0.4), "panel", votes=5, abstained="tie")
UNREAD = TextLabel(None, None, "panel", votes=0, abstained="no readable vote")


def choice(*options: str | bool, labels: tuple[str, ...] = LABELS):  # type: ignore[no-untyped-def]
    return question_about("choice", "which", options, labels, where="questions.0")


def test_a_choice_of_all_labels_has_their_probabilities_in_the_order_of_the_request() -> None:
    answer = answer_to(choice("good", "bad", "fair"), SAID, LABELS)
    assert answer is not None
    assert answer.shares == pytest.approx((0.6, 0.1, 0.3))
    assert (answer.winner, answer.confidence) == (0, 0.6)


def test_a_choice_of_some_labels_is_among_these_and_its_confidence_among_all() -> None:
    answer = answer_to(choice("bad", "fair"), SAID, LABELS)
    assert answer is not None
    assert answer.shares == pytest.approx((0.25, 0.75))
    assert (answer.winner, answer.confidence, answer.mass) == (1, 0.3, pytest.approx(0.4))


def test_an_abstention_is_no_choice_but_a_choice_of_fewer_labels_can_have_a_winner() -> None:
    assert answer_to(choice("bad", "fair", "good"), TIE, LABELS) is None
    assert answer_to(choice("bad", "good"), TIE, LABELS) is None, "these two are level"
    answer = answer_to(choice("fair", "good"), TIE, LABELS)
    assert answer is not None and answer.winner == 1


def test_the_label_wins_over_a_likelier_one_because_a_scale_has_medians() -> None:
    median = TextLabel("fair", (0.4, 0.2, 0.4), "panel")
    answer = answer_to(choice("bad", "fair", "good"), median, LABELS)
    assert answer is not None and answer.winner == 1


def test_a_score_is_the_mean_place_and_a_predicate_the_probability_of_its_label() -> None:
    score = answer_to(question_about("score", None, LABELS, LABELS, where="q"), SAID, LABELS)
    assert score is not None and score.score == pytest.approx(1.5) and score.confidence == 0.6
    named = answer_to(predicate_about("fair", LABELS, where="q"), SAID, LABELS)
    assert named is not None and named.mass == 0.3
    zero = answer_to(predicate_about("fair", LABELS, where="q"), SAID._replace(distribution=(0, 0, 1)), LABELS)
    assert zero is not None and zero.mass == 0, "a probability of 0 is an answer"


def test_labels_of_truth_are_what_booleans_and_unnamed_predicates_mean() -> None:
    labels = ("false", "true")
    said = TextLabel("true", (0.2, 0.8), "student")
    answer = answer_to(choice(False, True, labels=labels), said, labels)
    assert answer is not None and answer.winner == 1
    spam = answer_to(predicate_about("is it spam", labels, where="q"), said, labels)
    assert spam is not None and spam.mass == 0.8


@pytest.mark.parametrize("options", [("bad", "spam"), ("bad", True), ("Bad", "good")])
def test_an_option_that_is_no_label_is_refused_with_the_labels(options: tuple[str | bool, ...]) -> None:
    with pytest.raises(RequestError, match=r"questions.0: there is no label .*; the labels are 'bad', 'fair', 'good'"):
        choice(*options)


def test_a_predicate_that_names_no_label_and_a_label_that_is_offered_twice_are_refused() -> None:
    with pytest.raises(RequestError, match="must have the name of a label, got None; the labels are"):
        predicate_about(None, LABELS, where="q")
    with pytest.raises(RequestError, match="two options are the same label"):
        choice(True, "true", labels=("true", "false"))


def test_answers_are_what_the_openai_package_reads() -> None:
    request = DecisionRequest.model_validate(
        {
            "model": "job",
            "input": [{"role": "user", "content": [{"type": "input_text", "text": "a"}]}],
            "questions": [
                {"type": "predicate", "name": "bad", "instructions": "is it bad?"},
                {"type": "choice", "instructions": "which?", "choices": [{"value": label} for label in LABELS]},
                {"type": "score", "instructions": "how?", "levels": [{"label": label} for label in LABELS]},
            ],
        }
    )
    questions = request.questions_about(LABELS)
    read = Decision.model_validate(decision_response("job", questions, SAID, LABELS))
    assert [answer.type for answer in read.answers] == ["predicate", "choice", "score"]
    assert read.usage.total_tokens == 7
    abstained = Decision.model_validate(decision_response("job", questions, TIE, LABELS))
    assert [answer.type for answer in abstained.answers] == ["predicate", "refusal", "score"]
    unread = Decision.model_validate(decision_response("job", questions, UNREAD, LABELS))
    assert [answer.type for answer in unread.answers] == ["refusal"] * 3


def test_the_text_of_an_input_is_its_parts_in_order() -> None:
    request = DecisionRequest.model_validate(
        {
            "model": "job",
            "input": [
                {"role": "user", "content": "one"},
                {
                    "role": "user",
                    "content": [{"type": "input_text", "text": "two"}, {"type": "input_json", "data": {"a": [1, "é"]}}],
                },
            ],
            "questions": [{"type": "predicate", "name": "bad", "instructions": "?"}],
        }
    )
    assert request.text == 'one\n\ntwo\n{"a":[1,"é"]}'


def test_the_older_schema_answers_by_question_id() -> None:
    request = SystemOneRequest.model_validate(
        {
            "state": {"text": "a"},
            "questions": {
                "good": {"type": "noul"},
                "which": {"type": "choice", "criteria": {"bad": "why", "good": None}},
                "how": {"type": "score", "criteria": list(LABELS)},
            },
        }
    )
    assert request.text == '{"text":"a"}'
    response = systemone_response("job", request, request.questions_about(LABELS), SAID, LABELS)
    answers = response["answers"]
    assert answers["good"]["noul"] == 0.6 and answers["good"]["probabilities"]["no"] == pytest.approx(0.4)
    assert answers["which"]["choice"] == "good" and answers["which"]["confidence"] == 0.6
    assert answers["how"]["score"] == pytest.approx(1.5) and answers["how"]["legend"] == dict(
        zip("012", LABELS, strict=True)
    )
    assert response["diagnostics"]["which"] == {"label_mass": pytest.approx(0.7), "argmax_is_label": True}
    refused = systemone_response("job", request, request.questions_about(LABELS), UNREAD, LABELS)
    assert {answer["type"] for answer in refused["answers"].values()} == {"refusal"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"images": ["x"]}, "images: this model reads text alone"),
        ({"instructions": "be brief"}, "instructions: this model reads a text as it is"),
        ({"questions": {"q": {"type": "choice", "criteria": ["bad"]}}}, "questions.q: criteria must map option names"),
        ({"questions": {"q": {"type": "score", "criteria": ["bad"]}}}, "questions.q: criteria must be a list of two"),
    ],
)
def test_what_the_older_schema_has_and_a_text_model_has_not_is_refused(change: dict[str, object], said: str) -> None:
    body = {"state": "a", "questions": {"good": {"type": "noul"}}} | change
    with pytest.raises(RequestError, match=said):
        SystemOneRequest.model_validate(body).questions_about(LABELS)
