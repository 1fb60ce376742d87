"""Data sets of the hub are read at one commit, from a hub on loopback; without one the answer is a line."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import Xpoll
from tests.support.fake_hub import COMMIT, NAME, FakeHub, serving_hub
from xpoll.core.errors import InputError, UnavailableError
from xpoll.core.tables import hub as hub_module
from xpoll.core.tables.readers import count_rows, stream_rows

TEXTS = ["first", "second", "third"]
SET = f"hf://datasets/{NAME}"


def as_parquet(texts: list[str]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"text": texts, "label": [0] * len(texts)}), file)
    return file.getvalue()


FILES = {
    "README.md": b"---\n---\n",
    "data/train-00000-of-00002.parquet": as_parquet(TEXTS[:2]),
    "data/train-00001-of-00002.parquet": as_parquet(TEXTS[2:]),
    "more/texts.jsonl": b"".join(json.dumps({"text": text}).encode() + b"\n" for text in TEXTS),
}


def ask(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """Puts all questions to another hub; huggingface_hub reads its environment when it is imported."""
    from huggingface_hub import HfFileSystem, constants, hf_api, hf_file_system

    for module in (constants, hf_api, hf_file_system):
        if hasattr(module, "ENDPOINT"):
            monkeypatch.setattr(module, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    HfFileSystem.clear_instance_cache()
    hub_module._commit_of.cache_clear()
    hub_module._say_once.cache_clear()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with serving_hub(FILES) as serving:
        ask(monkeypatch, serving.url)
        yield serving


@pytest.mark.parametrize("path", ["", "/data", "/data/train-*.parquet", "/more/texts.jsonl", "@v1", f"@{COMMIT}/data"])
def test_files_folders_and_patterns_are_read_as_elsewhere(
    hub: FakeHub, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [row.values["text"] for row in stream_rows(f"{SET}{path}", key="documents.path")] == TEXTS
    assert count_rows(f"{SET}{path}", key="documents.path") == 3
    said = capsys.readouterr().err
    if COMMIT in path:
        assert said == "", "what is pinned needs no word"
    else:
        inside = path.removeprefix("@v1")
        assert said == (
            f"documents.path: reads {SET}{path} at its newest commit over the network; to read the same again: "
            f"{SET}@{COMMIT}{inside}\n"
        )
    files = [each for each in hub.asked if "/resolve/" in each]
    assert files and all(f"/resolve/{COMMIT}/" in each for each in files), "whatever is committed meanwhile"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("hf://some-one/texts", "names no data set -> set k to hf://datasets/OWNER/NAME/FILE"),
        ("hf://datasets/some-one", "names no data set"),
        ("hf://datasets/some-one/else", "there is no data set some-one/else, or it needs a token -> check its name"),
        (f"{SET}@v2/data", "there is no revision v2 -> name a branch, tag or commit"),
        (f"{SET}/none.csv", f"{SET}/none.csv does not exist"),
        (f"{SET}/README.md", "is no arrow, csv, jsonl, parquet, xlsx file"),
    ],
)
def test_what_is_not_there_is_one_line(hub: FakeHub, path: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        list(stream_rows(path, key="k"))
    assert said in str(error.value) and "\n" not in str(error.value)
    assert hub.asked or "names no data set" in said


def test_a_hub_that_is_gone_is_one_line(
    monkeypatch: pytest.MonkeyPatch, hub: FakeHub, tmp_path: Path, xpoll: Xpoll
) -> None:
    rows = stream_rows(f"{SET}@{COMMIT}/data/train-*.parquet", key="k")
    assert next(rows).values["text"] == "first"
    monkeypatch.setattr(hub, "files", {})
    with pytest.raises(InputError, match="cannot be read to its end"):
        list(rows)
    ask(monkeypatch, "http://127.0.0.1:9")
    job = tmp_path / "job.toml"
    job.write_text(f'[documents]\npath = "{SET}"\n[task]\nlabels = ["a", "b"]\n[engine]\nbackend = "simulated"\n')
    done = xpoll("plan", job)
    assert done.returncode == 75 and done.stderr.count("\n") == 1, done.stderr
    assert "http://127.0.0.1:9 does not answer" in done.stderr and "hf download some-one/texts" in done.stderr
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UnavailableError, match="HF_HUB_OFFLINE is set"):
        list(stream_rows(SET, key="k"))
