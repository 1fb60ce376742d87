"""The order of a run's prompts is chosen once: a resumed run asks in the order of its plan."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Xpoll
from xpoll.core.config.file import load_config
from xpoll.core.files import read_json
from xpoll.pipeline import prepare as planning
from xpoll.pipeline import steps

JOB = """
[job]
run_folder = "run"
[documents]
path = "texts.csv"
[task]
labels = ["good", "bad"]
[panel]
personas = ["annotator", "auditor", "credit_analyst", "fund_manager"]
order = "auto"
[engine]
device = "cpu"
model = "no-such-model"
"""
AUDITOR_LAST = "\n\nAnswer as: an auditor of listed companies"


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The last messages that polls put to the auditor; the polls stop before any engine starts."""
    contents: list[str] = []

    def keep(job: Any, **_: Any) -> int:
        contents.extend(prompt.messages[-1]["content"] for prompt in job.prompts if prompt.persona_id == "auditor")
        return 0

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("xpoll.engine.run.answer_prompts", keep)
    monkeypatch.setattr(planning, "prepare_model", lambda _: None)
    (tmp_path / "job.toml").write_text(JOB)
    return contents


def write_texts(text: str) -> None:
    Path("texts.csv").write_text("text\n" + "".join(f"{i} {text}\n" for i in range(20)))


def poll(*overrides: str) -> dict[str, Any]:
    config = load_config(Path("job.toml"), list(overrides))
    prepared = planning.prepare(config)
    steps.poll(config, prepared.folder)
    plan: dict[str, Any] = read_json(prepared.folder.plan)
    return plan


def test_a_resumed_run_asks_in_the_order_of_its_plan(asked: list[str]) -> None:
    write_texts("long " * 400)
    begun = poll()
    assert begun["prompt_order"] == "text_first"
    assert all(AUDITOR_LAST in content for content in asked)

    rows = Path("texts.csv").read_text()
    Path("texts.csv").write_text(rows + "short\n" * 2000)  # a fresh plan might choose otherwise
    asked.clear()
    resumed = poll()
    assert (resumed["prompt_order"], resumed["prompt_order_reason"]) == ("text_first", begun["prompt_order_reason"])
    assert len(asked) == 2020
    assert all(AUDITOR_LAST in content for content in asked)
    assert planning.outline(load_config(Path("job.toml")))[None].prompt_order == "text_first"


def test_a_plan_does_not_follow_a_run_of_another_config(asked: list[str]) -> None:
    write_texts("long " * 400)
    poll()
    other = load_config(Path("job.toml"), ["task.labels=['yes','no']", f"documents.path='{Path('short.csv')}'"])
    Path("short.csv").write_text("text\nshort\nbrief\n")
    assert planning.outline(other)[None].prompt_order == "persona_first"


def test_an_order_that_the_job_names_wins(asked: list[str]) -> None:
    write_texts("long " * 400)
    planned = poll("panel.order=persona_first")
    assert planned["prompt_order"] == "persona_first"
    assert planned["prompt_order_reason"].startswith(
        "panel.order says so; auto would take text_first: text_first computes"
    )
    assert planned["predicted"]["text_first"]["cached_share"] > planned["predicted_cached_share"]
    assert not any("Answer as" in content for content in asked)


def test_the_plan_says_which_order_and_why(asked: list[str], tmp_path: Path, xpoll: Xpoll) -> None:
    write_texts("long " * 400)
    shown = xpoll("plan", "job.toml", cwd=tmp_path).stdout
    assert "\nprompt_order             text_first\n" in shown
    assert "fewer tokens than persona_first\n" in shown
    assert "\npredicted, persona_first " in shown
    assert "\npredicted, text_first    " in shown
    assert json.loads(xpoll("plan", "job.toml", "--json", cwd=tmp_path).stdout)["predicted_cached_share"] > 0.5
