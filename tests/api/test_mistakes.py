"""What a newcomer does wrong is one line that says what, why and what to type; nothing is left behind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pytest

import xpoll

TEXTS = ["good", "bad"]
LABELS = ["good", "bad"]


def closed() -> Any:
    with xpoll.Engine("simulated", device="cpu") as engine:
        pass
    return engine.label(TEXTS, LABELS)


MISTAKES: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "no labels": (lambda: xpoll.label(TEXTS), xpoll.ConfigError, 'labels are missing -> labels=["...", "..."]'),
    "one label": (lambda: xpoll.label(TEXTS, ["good"]), xpoll.ConfigError, "labels must name at least 2 labels"),
    "labels in one string": (
        lambda: xpoll.label(TEXTS, "good, bad"),
        xpoll.InputError,
        "labels is one string, 'good, bad' -> give a list:",
    ),
    "one text": (
        lambda: xpoll.label("Is it good?", LABELS),
        xpoll.InputError,
        "texts is one string, 'Is it good?', and no file is called so -> give a list of texts: [text]",
    ),
    "a frame without the column": (
        lambda: xpoll.label(pd.DataFrame({"body": TEXTS}), LABELS),
        xpoll.InputError,
        "texts has no column 'text'; it has body -> text_column='body'",
    ),
    "a frame without the id": (
        lambda: xpoll.label(pd.DataFrame({"text": TEXTS}), LABELS, id_column="id"),
        xpoll.InputError,
        "texts has no column 'id'; it has text -> id_column='text'",
    ),
    "all splits": (
        lambda: xpoll.label(datasets.DatasetDict(train=datasets.Dataset.from_dict({"text": TEXTS})), LABELS),
        xpoll.InputError,
        "texts is a DatasetDict with the splits train -> give one of them",
    ),
    "no texts": (lambda: xpoll.label([], LABELS), xpoll.InputError, "texts holds no text -> give at least one"),
    "None": (lambda: xpoll.label(None, LABELS), xpoll.InputError, "texts is NoneType -> give a list of texts"),
    "a number": (lambda: xpoll.label(7, LABELS), xpoll.InputError, "texts is of type int -> give a list of texts"),
    "gold without labels": (
        lambda: xpoll.label(TEXTS, LABELS, gold=["good"]),
        xpoll.InputError,
        "gold must give text, label of each text -> a table, or a list of (text, label)",
    ),
    "two rows of one id": (
        lambda: xpoll.label({"text": TEXTS, "id": [1, 1]}, LABELS, id_column="id", engine="simulated", device="cpu"),
        xpoll.InputError,
        "documents: two rows have the id '1'",
    ),
    "a closed engine": (closed, xpoll.EngineError, "this engine is closed -> with xpoll.Engine(...) as engine:"),
    "a folder that is no student": (
        lambda: xpoll.Student.load("."),
        xpoll.ModelError,
        ". is no student: it holds no config.json -> train one with xpoll train",
    ),
    "no folder at all": (lambda: xpoll.Student.load("nowhere"), xpoll.ModelError, "there is no student folder nowhere"),
    "a folder that is no run": (lambda: xpoll.Run("."), xpoll.ConfigError, "is a folder without config.resolved.json"),
    "a misspelt section": (
        lambda: xpoll.label(TEXTS, LABELS, panle={"samples": 2}),
        xpoll.ConfigError,
        "unknown keyword 'panle' -> did you mean panel?",
    ),
    "a misspelt key": (
        lambda: xpoll.label(TEXTS, LABELS, panel={"sampels": 2}),
        xpoll.ConfigError,
        "unknown config key panel.sampels -> did you mean panel.samples?",
    ),
    "a section that is none": (
        lambda: xpoll.label(TEXTS, LABELS, panel="expert"),
        xpoll.ConfigError,
        "panel is of type str -> give a dict of the keys of [panel]",
    ),
    "a misspelt option": (
        lambda: xpoll.Engine("openai", base_ulr="http://localhost:8000"),
        xpoll.ConfigError,
        "unknown option 'base_ulr' of the engine -> did you mean base_url?",
    ),
    "an unknown backend": (
        lambda: xpoll.label(TEXTS, LABELS, engine="vlmm"),
        xpoll.ConfigError,
        "engine.backend: unknown backend 'vlmm' -> did you mean vllm?",
    ),
    "an option beside a kept engine": (
        lambda: xpoll.Engine("simulated").label(TEXTS, LABELS, model="m"),
        xpoll.ConfigError,
        "model does not go with an engine that is kept -> xpoll.Engine(...) takes options",
    ),
    "a missing job": (lambda: xpoll.Job.from_toml("job.toml"), xpoll.ConfigError, "job.toml does not exist"),
    "a job without texts": (lambda: xpoll.Job(task={"labels": LABELS}), xpoll.ConfigError, "documents.path is missing"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing(
    mistake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    call, kind, line = MISTAKES[mistake]
    with pytest.raises(kind) as raised:
        call()
    assert isinstance(raised.value, xpoll.XpollError)
    assert line in str(raised.value)
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_one_string_is_no_list_of_texts_for_a_student_either() -> None:
    student = xpoll.Student(Path("s"), None)
    with pytest.raises(xpoll.InputError, match="texts is one string, 'good', and no file is called so"):
        student.predict("good")
    with pytest.raises(xpoll.InputError, match="is a file -> xpoll predict s"):
        student.predict(Path(__file__))
