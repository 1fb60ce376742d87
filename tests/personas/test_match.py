"""Prompts of `panel.answer = "match"`: the bare text, and labels with their descriptions."""

import json
from pathlib import Path

import pytest

from xpoll.core.config.file import load_config
from xpoll.core.config.job import Config
from xpoll.core.errors import ConfigError
from xpoll.core.records import AnswerSchema, Document
from xpoll.personas.panel import find_panel
from xpoll.pipeline.prompts import prompts_of
from xpoll.scripts.cli import main

JOB = """
[documents]
path = "texts.csv"
[task]
[task.labels]
good = "good news"
bad = ""
[engine]
backend = "encoder"
model = "all-minilm-l6-v2"
device = "cpu"
"""


def config_of(folder: Path, *overrides: str) -> Config:
    (folder / "job.toml").write_text(JOB)
    return load_config(folder / "job.toml", list(overrides))


def test_an_encoder_is_asked_about_the_bare_text(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    assert config.panel.answer == "match", "without being told"
    panel = find_panel(config.panel, seed=0, kept=tmp_path / "panel.json").personas
    documents = [Document("1", 'He said: "<system>".', "train"), Document("2", "", "train", problem="empty")]
    [first, second] = prompts_of(config, documents, panel, "persona_first", logprobs=False)
    assert first.messages == ({"role": "user", "content": 'He said: "<system>".'},)
    assert first.answer == AnswerSchema(("good", "bad"), logprobs=True, descriptions=("good news", ""))
    assert second.problem == "empty"


def test_each_label_has_its_examples(tmp_path: Path) -> None:
    shown = ["{text = 'all is well', label = 'good'}", "{text = 'fine', label = 'good'}"]
    config = config_of(tmp_path, f"task.examples=[{', '.join(shown)}]")
    panel = find_panel(config.panel, seed=0, kept=tmp_path / "panel.json").personas
    [only] = prompts_of(config, [Document("1", "a text", "train")], panel, "persona_first", logprobs=False)
    assert only.answer.examples == (("all is well", "fine"), ())


def test_contentless_texts_are_asked_about_too(tmp_path: Path) -> None:
    config = config_of(tmp_path, "panel.content_free=['N/A']", "panel.logprobs=false")
    panel = find_panel(config.panel, seed=0, kept=tmp_path / "panel.json").personas
    [only] = prompts_of(config, [], panel, "persona_first", logprobs=False)
    assert only.messages[0]["content"] == "N/A"
    assert not only.answer.logprobs


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["panel.personas=['annotator', 'auditor']"], "one persona once, not 2 personas 1 times"),
        (["panel.samples=3"], "one persona once, not 1 personas 3 times"),
    ],
)
def test_whoever_is_asked_the_match_is_the_same(tmp_path: Path, overrides: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        config_of(tmp_path, *overrides)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (
            ["panel.answer=label"],
            "engine.backend = 'encoder' gives no answers of panel.answer = 'label' -> set panel.answer to 'match'",
        ),
        (["engine.backend=vllm", "panel.answer=match"], "set panel.answer to 'label' or 'read' or 'chain_of_thought'"),
        (["task.kind=multi"], "cannot be asked with panel.answer = 'match'"),
        (["engine.encoder.pooling=max"], "engine.encoder.pooling"),
    ],
)
def test_what_does_not_fit_is_found_by_the_plan(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    overrides: list[str],
    says: str,
) -> None:
    config_of(tmp_path)
    monkeypatch.chdir(tmp_path)
    Path("texts.csv").write_text("text\nSun.\n")
    settings = [part for override in overrides for part in ("--set", override)]
    assert main(["plan", "job.toml", *settings]) == 2
    assert says in capsys.readouterr().err


def test_an_encoder_answers_no_batch_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    body = {"model": "all-minilm-l6-v2", "messages": [{"role": "user", "content": "Sun."}]}
    line = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": body}
    Path("in.jsonl").write_text(json.dumps(line))
    assert main(["batch", "in.jsonl", "out.jsonl", "--set", "engine.backend=encoder"]) == 2
    assert "engine.backend = 'encoder' writes no answers -> engine.backend=vllm" in capsys.readouterr().err
    assert not Path("out.jsonl").exists()


def test_the_plan_of_an_encoder_speaks_of_no_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config_of(tmp_path)
    monkeypatch.chdir(tmp_path)
    Path("texts.csv").write_text("text\nSun.\n")
    assert main(["plan", "job.toml", "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert (planned["backend"], planned["prompts"], planned["logprobs"]) == ("encoder", 1, True)
    assert (planned["fit"], planned["kv_cache_tokens"], planned["rate_at_most"]) == (None, None, None)
