"""A student is uploaded where a token is set; without one, or where the hub refuses, the answer is one line."""

import json
from pathlib import Path

import pytest

from tests.conftest import Xpoll
from xpoll.core.errors import ModelError
from xpoll.student.hub import push


class Hub:
    """Stands in for huggingface_hub.HfApi; refuses a name without an owner, as the hub does."""

    uploads: list[tuple[str, Path, list[str]]] = []
    kinds: set[str] = set()

    def create_repo(self, name: str, *, repo_type: str, exist_ok: bool) -> None:
        assert exist_ok
        self.kinds.add(repo_type)
        if "/" not in name:
            raise ValueError(f"403 Forbidden: {name}\nRequest ID: 1")

    def upload_folder(self, *, repo_id: str, repo_type: str, folder_path: Path, ignore_patterns: list[str]) -> str:
        assert repo_type in self.kinds
        self.uploads.append((repo_id, folder_path, ignore_patterns))
        return f"https://huggingface.co/{repo_id}"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> type[Hub]:
    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    monkeypatch.setattr(Hub, "uploads", [])
    monkeypatch.setattr(Hub, "kinds", set())
    return Hub


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose student is a language model, as far as an upload looks at it."""
    (tmp_path / "run/student").mkdir(parents=True)
    (tmp_path / "run/student/training.json").write_text(json.dumps({"kind": "causal-lm"}), encoding="utf-8")
    return tmp_path / "run"


def test_a_language_model_is_uploaded_without_the_other_seeds(
    run: Path, hub: type[Hub], xpoll: Xpoll, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "a-token")
    done = xpoll("export", "run", "--push-to-hub", "me/student", cwd=run.parent)
    assert done.stdout == "export: uploaded to https://huggingface.co/me/student\n", done.stderr
    ((name, folder, ignored),) = hub.uploads
    assert (name, folder, ignored) == ("me/student", Path("run/student"), ["seeds/*"])


def test_without_a_token_or_a_wish_nothing_is_uploaded(
    run: Path, hub: type[Hub], xpoll: Xpoll, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    for arguments, said in (
        (["--push-to-hub", "me/student"], "--push-to-hub needs a token -> set HF_TOKEN in the environment"),
        ([], "no OpenVINO form here -> xpoll serve run, or --push-to-hub USER/NAME"),
    ):
        done = xpoll("export", "run", *arguments, cwd=run.parent)
        assert done.returncode == 2 and said in done.stderr
    assert hub.uploads == []


def test_what_the_hub_refuses_is_one_line(run: Path, hub: type[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "a-token")
    with pytest.raises(ModelError, match="cannot be uploaded to student: 403 Forbidden: student -> check the name"):
        push(run / "student", "student")
    assert hub.uploads == []
