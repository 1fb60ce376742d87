"""No review form, whatever an export or a spreadsheet made of it, is more than one line of error."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.hostile import examples
from xpoll.core.errors import InputError
from xpoll.votes.review.forms import read_answers

LABELS = ["good", "bad"]
DOCUMENTS = {"a", "b", "1"}
word = st.sampled_from(["a", "b", "1", "good", "bad", "", "=1", "Good "]) | st.text(max_size=8)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | word,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(word, inner, max_size=3),
    max_leaves=6,
)
KEYS = [
    "document_id",
    "label",
    "data",
    "annotations",
    "result",
    "value",
    "choices",
    "responses",
    "metadata",
    "fields",
    "id",
]
item = st.recursive(
    anything,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=8,
)


def read(folder: Any, name: str, content: bytes) -> None:
    path = folder.mktemp("form") / name
    path.write_bytes(content)
    with suppress(InputError):  # one line
        read_answers(path, DOCUMENTS, LABELS)


@examples(150)
@given(st.lists(item, max_size=3), st.booleans())
def test_an_export(tmp_path_factory: pytest.TempPathFactory, items: list[Any], as_lines: bool) -> None:
    content = "\n".join(map(json.dumps, items)) if as_lines else json.dumps(items)
    read(tmp_path_factory, "form.jsonl" if as_lines else "form.json", content.encode())


@examples(150)
@given(
    st.lists(st.lists(word, max_size=4), max_size=4),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["utf-8", "utf-16"]),
)
@example([["document_id", "label"], ["a", '"good']], ",", "utf-8")
def test_a_sheet(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], separator: str, encoding: str
) -> None:
    text = "\n".join(separator.join(row) for row in [["document_id", "label"], *rows])
    read(tmp_path_factory, "form.csv", text.encode(encoding, "surrogatepass"))


@examples(100)
@given(st.binary(max_size=60), st.sampled_from(["form.csv", "form.json", "form.jsonl"]))
@example(b"[" * 100_000, "form.json")
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str) -> None:
    read(tmp_path_factory, name, content)
