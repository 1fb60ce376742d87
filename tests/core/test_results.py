"""A result that cannot be read is one line that says which step to run again."""

import json
from pathlib import Path

import pytest

from xpoll.core.errors import RunFolderError
from xpoll.core.results import Result, read_result


class Count(Result):
    schema_version: int = 3
    rows: int


def written(path: Path, text: str) -> Path:
    file = path / "count.json"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_result_reads_back(tmp_path: Path) -> None:
    count = Count(rows=7)
    assert read_result(written(tmp_path, json.dumps(count.as_json())), Count, step="vote") == count


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"schema_version": 2, "rows": 7}', "has schema_version 2, this xpoll reads 3"),
        ('{"rows": 7}', "has no schema_version, this xpoll reads 3"),
        ("[]", "has no schema_version, this xpoll reads 3"),
        ('{"schema_version": 3, "rows": "many"}', "cannot be read: rows: Input should be a valid integer"),
        ('{"schema_version": 3, "rows": 7, "more": 1}', "cannot be read: more: Extra inputs are not permitted"),
        ("{", "is not JSON"),
    ],
)
def test_what_cannot_be_read_names_the_step_to_run_again(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(RunFolderError, match=said) as raised:
        read_result(written(tmp_path, text), Count, step="vote")
    assert str(raised.value).endswith(f"-> run the step again: xpoll vote {tmp_path}")
    assert "\n" not in str(raised.value)


def test_a_missing_result_names_the_step_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="is not there yet -> run the step before it: xpoll vote"):
        read_result(tmp_path / "count.json", Count, step="vote")
