"""Planted secrets that an engine prints, logs, answers or dies of are written nowhere, whichever backend it is."""

import logging
import sys
import warnings
from pathlib import Path

import pytest

from tests.support import in_process
from tests.support.in_process import answer_in_process
from xpoll.core import secrets
from xpoll.core.errors import EngineError
from xpoll.core.records import Completion, Prompt
from xpoll.engine.backends.backend import EngineDeadError, Load
from xpoll.engine.journal.answers import count_answers, read_completions
from xpoll.scripts.cli import main

PLANTED = {
    "OPENAI_API_KEY": "planted-openai-key-1",
    "HF_TOKEN": "planted-hub-token-2",
    "DATABASE_PASSWORD": "planted-password-3",
}
SAID = f"it was given {PLANTED} and Authorization: Bearer {PLANTED['OPENAI_API_KEY']}"
ENGINES = {
    "simulated": "",
    "replay": '[engine.replay]\npath = "recorded.jsonl"',
    "openai": '[engine.openai]\nbase_url = "http://127.0.0.1:9/v1"',
    "encoder": "",
    "openvino": "",
    "vllm": "",
}
FAILURES = ["answers", "refuses", "raises", "dies", "does not start", "breaks at its start"]


class Quoting:
    """A backend that quotes every secret it knows, in each way there is."""

    def __init__(self, failure: str) -> None:
        self.failure = failure

    async def start(self) -> None:
        sys.stdout.write(SAID)
        sys.stderr.write(SAID)
        logging.getLogger("engine").error("%s", SAID)
        warnings.warn(SAID, stacklevel=1)
        if self.failure == "does not start":
            raise EngineError(SAID, mend="look")
        if self.failure == "breaks at its start":
            raise RuntimeError(SAID)

    async def answer(self, prompt: Prompt) -> Completion:
        if self.failure == "raises":
            raise ValueError(SAID)
        if self.failure == "dies":
            raise EngineDeadError(SAID)
        if self.failure == "refuses":
            return Completion(*prompt.key, error_kind="refused", error=SAID)
        return Completion(*prompt.key, text=SAID, finish_reason="stop")

    def load(self) -> Load | None:
        return None

    def stop(self) -> None:
        sys.stdout.write(SAID)


@pytest.mark.parametrize(
    ("backend", "failure"),
    [*(("simulated", failure) for failure in FAILURES), *zip(list(ENGINES)[1:], FAILURES, strict=False)],
)
def test_no_secret_is_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    backend: str,
    failure: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(secrets, "_known", None)
    for name, value in PLANTED.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("xpoll.engine.run.answer_prompts", answer_in_process)
    monkeypatch.setattr(in_process, "make_backend", lambda *_: Quoting(failure))
    monkeypatch.setattr(sys, "stdout", sys.__stdout__)
    monkeypatch.setattr(sys, "stderr", sys.__stderr__)
    Path("texts.csv").write_text("text\none\ntwo\n")
    Path("recorded.jsonl").write_text("{}")
    Path("job.toml").write_text(
        '[job]\nrun_folder = "run"\n[documents]\npath = "texts.csv"\n[task]\nlabels = ["good", "bad"]\n'
        f'[panel]\nsamples = 1\nlogprobs = false\n[engine]\nbackend = "{backend}"\n{ENGINES[backend]}\n'
    )
    try:
        code = main(["poll", "job.toml"])
    except Exception:
        sys.excepthook(*sys.exc_info())
        code = 1
    shown = capfd.readouterr()
    written = {"the terminal": f"{shown.out}{shown.err}".encode()}
    written |= {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    if count_answers(tmp_path / "run" / "completions"):
        written["answers"] = repr(list(read_completions(tmp_path / "run" / "completions"))).encode()
    for place, content in written.items():
        assert not [name for name, secret in PLANTED.items() if secret.encode() in content], place
    assert any(b"***" in content for content in written.values()), (code, "nothing was quoted", shown)
