"""Drafts a job: looks at a file of texts, proposes columns, and writes a TOML with comments on what is worth setting.

Also finds the examples that come with xpoll, whose settings a draft can take.
"""

import importlib.resources
import json
import shutil
import tomllib
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from xpoll.core.config.file import checked_config, nearest, settle_place
from xpoll.core.config.job import Config
from xpoll.core.errors import ConfigError, InputError
from xpoll.core.files import write_text
from xpoll.core.tables.readers import stream_rows

LOOKED_AT = 500
"""Rows by which columns are told apart."""
MOST_IDS = 1_000_000
"""Rows up to which an id column is proposed: each one's id is looked at, because two alike end a run."""
TEXT_NAMES = ("text", "sentence", "content", "body", "message", "review", "comment", "document", "description")
ID_NAMES = ("id", "uid", "uuid", "guid", "key", "nr", "number", "index")
MOST_LABELS = 30
TAKEN = ("panel", "engine", "vote", "student")
"""Sections that a draft takes from an example as they are."""


class TextsSurvey(NamedTuple):
    """What a file holds.

    Attributes:
        path: The file.
        columns: Their names.
        text_column: The one that holds the text.
        id_column: One that holds a unique id, if there is one.
        label_columns: Columns of few values that repeat, with these: labels may be known there.
    """

    path: str
    columns: list[str]
    text_column: str
    id_column: str | None
    label_columns: dict[str, list[str]]


def survey_texts(path: str, *, text_column: str | None = None, id_column: str | None = None) -> TextsSurvey:
    """Looks at a file, and proposes what is not named.

    Raises:
        InputError: there is no such file, no such column, or no column of texts.
    """
    named = tuple(each for each in (text_column, id_column) if each is not None)
    rows = [row.values for row in islice(stream_rows(path, key="texts", needs=named), LOOKED_AT) if not row.problem]
    columns = list(dict.fromkeys(str(name) for row in rows for name in row))
    values = {name: [row.get(name) for row in rows] for name in columns}
    text_column = text_column or _text_column(values, path)
    others = [name for name in columns if name != text_column]
    if id_column is None:
        id_column = next((name for name in others if _may_be_id(name, values[name]) and _is_unique(path, name)), None)
    labels = {name: found for name in others if name != id_column and (found := _labels_in(values[name]))}
    return TextsSurvey(path, columns, text_column, id_column, labels)


def _text_column(values: Mapping[str, list[Any]], path: str) -> str:
    """The column that is called so, or else the one with the longest texts."""
    lengths = {name: _mean_length(column) for name, column in values.items()}
    by_name = [name for want in TEXT_NAMES for name in values if name.lower() == want and lengths[name]]
    longest = max(lengths, key=lambda name: lengths[name], default=None)
    if longest is None or not lengths[longest]:
        raise InputError(
            f"texts: no column of {path} holds text; it has {', '.join(values)}", mend="--text-column NAME"
        )
    return by_name[0] if by_name else longest


def _mean_length(column: Sequence[Any]) -> float:
    texts = [cell for cell in column if isinstance(cell, str) and not _is_number(cell)]
    return sum(map(len, texts)) / len(column) if len(texts) * 2 > len(column) else 0.0


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _may_be_id(name: str, column: Sequence[Any]) -> bool:
    word = name.lower().replace("-", "_")
    called_so = word in ID_NAMES or word.endswith(tuple(f"_{each}" for each in ID_NAMES))
    return called_so and all(cell not in (None, "") for cell in column)


def _is_unique(path: str, name: str) -> bool:
    seen: set[int] = set()
    for count, row in enumerate(stream_rows(path, key="texts"), 1):
        seen.add(hash(str(row.values.get(name))))
        if count > MOST_IDS or len(seen) < count:
            return False
    return True


def _labels_in(column: Sequence[Any]) -> list[str] | None:
    """The values of a column that repeats a few of them; none where it does not."""
    found = list(dict.fromkeys(str(cell) for cell in column if cell not in (None, "")))
    numbers = [cell for cell in found if _is_number(cell)]
    repeats = len(column) >= 4 * len(found)
    return found if 2 <= len(found) <= MOST_LABELS and repeats and not numbers else None


def example_folders() -> dict[str, Path]:
    """The examples that come with xpoll, by name."""
    root = Path(str(importlib.resources.files("xpoll.examples")))
    return {folder.name: folder for folder in sorted(root.iterdir()) if (folder / "README.md").exists()}


def find_example(name: str) -> Path:
    """The folder of an example.

    Raises:
        InputError: there is none of that name.
    """
    folders = example_folders()
    if name not in folders:
        mend = nearest(name, list(folders)).replace("known keys", "there are")
        raise InputError(f"there is no example {name!r}", mend=mend)
    return folders[name]


def copy_example(name: str, target: Path, *, force: bool = False) -> list[Path]:
    """Copies the files of an example; returns where they are.

    Raises:
        InputError: there is none of that name, or files are there already.
    """
    source = find_example(name)
    files = [file for file in sorted(source.rglob("*")) if file.is_file() and "__pycache__" not in file.parts]
    written = [target / file.relative_to(source) for file in files]
    if not force and (there := next((file for file in written if file.exists()), None)):
        raise InputError(f"{there} is there already", mend="--force overwrites it")
    for file, copy in zip(files, written, strict=True):
        if not (copy.exists() and copy.samefile(file)):
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    return written


def draft_job(survey: TextsSurvey, labels: Sequence[str] | None, *, example: str | None = None) -> str:
    """The text of a job.

    Args:
        survey: The texts.
        labels: Names of the labels; without them those of the example.
        example: Whose settings, question and label descriptions are taken.

    Raises:
        ConfigError: there are no labels.
        InputError: there is no such example, or it has no job.
    """
    base: dict[str, Any] = {}
    if example is not None:
        job = find_example(example) / "job.toml"
        if not job.exists():
            raise InputError(f"the example {example!r} has no job", mend="xpoll examples")
        base = tomllib.loads(job.read_text(encoding="utf-8"))
    task = base.get("task", {})
    described = task.get("labels", {})
    if labels is None and not described:
        known = next((f"the column {name!r} has {','.join(v)}" for name, v in survey.label_columns.items()), None)
        raise ConfigError("labels are missing", mend=f"--labels a,b,c{f' ({known})' if known else ''}")
    if labels is None:
        chosen = dict(described) if isinstance(described, dict) else dict.fromkeys(described, "")
    else:
        chosen = {label: described.get(label, "") if isinstance(described, dict) else "" for label in labels}
    examples = [each for each in task.get("examples", []) if each.get("label") in chosen]
    parts = [_head(survey, example), _documents(survey), _task(chosen, task.get("question"), examples)]
    parts += [_section(name, base[name]) for name in TAKEN if name in base] if base else [DEFAULT_SECTIONS]
    return "\n".join(parts)


def write_job(text: str, path: Path, *, force: bool = False) -> Config:
    """Writes a drafted job, once it is one; returns its config.

    Raises:
        ConfigError: a value breaks a rule, or the file is there already.
    """
    if path.exists() and not force:
        raise ConfigError(f"{path} is there already", mend="--force overwrites it, --output names another file")
    raw = tomllib.loads(text)
    settle_place(raw, name=path.stem)
    config = checked_config(Config, raw, mend="--labels a,b,c")
    write_text(path, text)
    return config


def _head(survey: TextsSurvey, example: str | None) -> str:
    after = f", with the settings of the example {example}" if example else ""
    return (
        f"# Drafted by `xpoll init` for {_one_line(survey.path)}{after}. All keys: docs/reference/configuration.md.\n"
        "# `xpoll plan` says what a run would do, `xpoll run` does it and resumes where it was stopped.\n"
    )


def _documents(survey: TextsSurvey) -> str:
    lines = ["[documents]", f"path = {_value(survey.path)}", f"text_column = {_value(survey.text_column)}"]
    if survey.id_column:
        lines.append(f"id_column = {_value(survey.id_column)}")
    lines.append(f"# Its columns: {_one_line(', '.join(survey.columns))}.")
    lines.append(
        "# Without texts whose labels are known, some hundred of them, nothing is measured. They are never trained on."
    )
    known = next(iter(survey.label_columns), "label")
    lines += ['# gold_path = "gold.csv"', f"# label_column = {_value(known)}", ""]
    return "\n".join(lines)


def _task(labels: Mapping[str, str], question: str | None, examples: Sequence[Mapping[str, Any]]) -> str:
    asked = question or "Which label fits the text best?"
    lines = ["[task]", "# What the panel is asked about each text.", f"question = {_value(asked)}", ""]
    lines += ["# Say behind each label when it fits; to a small model it matters most.", "[task.labels]"]
    lines += [f"{_value(label)} = {_value(about)}" for label, about in labels.items()]
    if examples:
        lines += ["", *(line for each in examples for line in ("[[task.examples]]", *_keys(each), ""))]
        return "\n".join(lines)
    first = next(iter(labels))
    lines += ["", "# Texts that show what is meant, a table for each; they are not taken from the gold rows."]
    lines += ["# [[task.examples]]", '# text = "..."', f"# label = {_value(first)}", ""]
    return "\n".join(lines)


DEFAULT_SECTIONS = """[panel]
# Who is asked, from the library (`xpoll panel`) or as TOML files. More, and unlike, personas make votes that say more.
personas = ["annotator"]

[engine]
# A packaged model, a folder, or a name on the Hugging Face hub. A larger model is where quality comes from.
model = "smollm2-135m-instruct"
# An OpenAI-compatible endpoint in its place:
# backend = "openai"
# [engine.openai]
# base_url = "http://localhost:8000/v1"

[vote]
# Takes out the liking of the model for some labels; needs no gold rows. "majority" counts plainly.
method = "calibrated"

[student]
# The encoder that is fine-tuned on the labels.
encoder = "all-minilm-l6-v2"
"""


def _section(name: str, keys: Mapping[str, Any]) -> str:
    """A table of the example; its recorded answers are of its own texts and are left out."""
    own = {key: value for key, value in keys.items() if not (name == "engine" and key == "replay")}
    return "\n".join([f"[{name}]", *_keys(own), ""])


def _keys(table: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_value(value)}" for key, value in table.items()]


def _value(value: Any) -> str:
    """A value as TOML; a table as one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_value(str(key))} = {_value(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # strings, numbers and booleans alike


def _one_line(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)
