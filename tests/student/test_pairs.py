"""Two texts that are labelled together: read, asked about, learned from as a pair, and predicted."""

import json
import random
from pathlib import Path

import pytest

from tests.support.toy import FILLERS, TELLING, make_encoder, row, settings
from xpoll.core.config.file import load_config
from xpoll.core.config.job import Config
from xpoll.core.errors import ConfigError, InputError
from xpoll.core.pairs import MARK, is_pair, joined, parts_of
from xpoll.personas.documents import stream_documents
from xpoll.personas.persona import Persona
from xpoll.personas.prompts import build_prompts
from xpoll.student.inference.model import StudentModel
from xpoll.student.inference.predict import predict_file
from xpoll.student.train import train_student
from xpoll.votes.check import check_votes

JOB = """
[documents]
path = "texts.csv"
text_pair_column = "answer"
[task]
labels = ["good", "bad"]
"""


def config_of(tmp_path: Path, *overrides: str) -> Config:
    (tmp_path / "job.toml").write_text(JOB)
    (tmp_path / "texts.csv").write_text(f"text,answer\nWhy?,So.\nWho?,\nOne {MARK} two,Three\n", encoding="utf-8")
    return load_config(tmp_path / "job.toml", [f"documents.path='{tmp_path}/texts.csv'", *overrides])


def test_both_texts_are_read_and_shown_and_a_row_without_one_is_an_error_row(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    first, lacking, marked = stream_documents(config.documents, ["good", "bad"])
    assert parts_of(first.text) == ("Why?", "So.")
    assert lacking.problem == "column 'answer' holds no text"
    assert parts_of(marked.text) == ("One   two", "Three"), "a mark of its own splits nothing"
    prompt = next(build_prompts([first], [Persona("a", "an optimist")], config))
    assert prompt.messages[-1]["content"] == "First text:\n```\nWhy?\n```\n\nSecond text:\n```\nSo.\n```"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("task.kind=spans", "spans are of one text"),
        ("panel.answer=match", "reads one"),
        ("task.examples=[{text='a',label='good'}]", "an example has text_pair where"),
    ],
)
def test_what_pairs_do_not_go_with_is_refused(tmp_path: Path, override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_votes(config_of(tmp_path, override))


def test_a_student_learns_from_both_texts_and_labels_pairs_alone(tmp_path: Path) -> None:
    """The label is "good" where both texts have the same telling word, which neither text tells alone."""
    encoder = make_encoder(tmp_path / "encoder")
    draw = random.Random(3)
    rows = []
    for number in range(80):
        first, second = draw.choice(list(TELLING.values())), draw.choice(list(TELLING.values()))
        text = joined(
            f"{first} {' '.join(draw.choices(FILLERS, k=3))} {number % 7}", f"{second} {draw.choice(FILLERS)}"
        )
        rows.append(row(number, "good" if first == "gain" else "bad", text=text))
    config = settings(encoder, epochs=3, held_out=0.0)
    train_student(rows, ["bad", "fair", "good"], config=config, seed=0, output=tmp_path / "student")
    student = StudentModel(tmp_path / "student")
    assert student.reads_pairs
    assert json.loads((tmp_path / "student" / "config.json").read_text())["text_pairs"] is True
    ids = student._encoder.encoded([joined("the gain", "a loss")])
    assert ids["token_type_ids"][0] == [0, 0, 0, 0, 1, 1, 1]
    (tmp_path / "new.jsonl").write_text('{"text": "gain the", "answer": "flat"}\n{"text": "gain"}\n')
    source, output = str(tmp_path / "new.jsonl"), tmp_path / "out.jsonl"
    written = predict_file(tmp_path / "student", source, output, text_column="text", text_pair_column="answer")
    assert (written.rows, written.first_problem) == (2, "row 1: column 'answer' is missing")
    with pytest.raises(InputError, match="labels pairs of texts -> name the column of the second"):
        predict_file(tmp_path / "student", source, output, text_column="text")


def test_a_pair_is_split_as_it_was_joined() -> None:
    assert parts_of(joined("a\nb", "c")) == ("a\nb", "c")
    assert is_pair(joined("", ""))
    assert not is_pair("a text")
    assert parts_of("a text") == ("a text", "")
