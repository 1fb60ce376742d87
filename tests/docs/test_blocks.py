"""Every fenced block of every page is run, or read by what reads it for a user."""

import contextlib
import io
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.support.fenced import Fenced, blocks, languages, run_python
from xpoll.core.config.file import apply_overrides, checked_config
from xpoll.core.config.job import Config
from xpoll.core.errors import XpollError
from xpoll.pipeline.serving.decisions import DecisionRequest
from xpoll.scripts.cli import COMMANDS, parser
from xpoll.synthesis.template import template_of
from xpoll.votes.check import check_votes

PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "experiments/**/*.md", "examples/**/*.md")
    for path in ROOT.glob(pattern)
)
RUN_ELSEWHERE = {
    "docs/explanation/scale.md": "tests/pipeline/test_shards.py",
    "docs/reference/python-api.md": "tests/test_python_api_page.py",
    "docs/howto/serving.md": "test_what_a_client_of_the_server_sends_is_what_the_server_takes",
}
"""Pages whose Python blocks are run, and by what."""


def as_job(given: dict[str, Any]) -> Config:
    """What a page shows of a job, as a whole one: with texts, and with labels where a panel is asked."""
    is_generative = given.get("student", {}).get("kind") == "causal-lm"
    rest = {"documents": {"path": "texts.csv"}, "task": {} if is_generative else {"labels": ["a", "b"]}}
    merged = {name: {**keys, **given.get(name, {})} for name, keys in rest.items()}
    return checked_config(Config, {**given, **merged}, mend="the page")


def blocks_in(*wanted: str) -> list[Any]:
    """Blocks of all pages in one of these languages, as parameters."""
    return [
        pytest.param(block, id=f"{page.relative_to(ROOT)}:{block.line}")
        for page in PAGES
        for language in wanted
        for block in blocks(page, language)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_says_what_it_is(page: Path) -> None:
    assert not languages(page) - {"bash", "jinja", "python", "text", "toml"}
    assert "python" not in languages(page) or str(page.relative_to(ROOT)) in RUN_ELSEWHERE


@pytest.mark.parametrize("block", blocks_in("toml"))
def test_a_job_of_a_page_is_a_job(block: Fenced) -> None:
    config = as_job(tomllib.loads(block.text))
    if not config.student.is_generative:
        check_votes(config)


def as_typed(line: str) -> Iterator[list[str]]:
    """The commands of a line of a shell, each as its words, without redirections and comments."""
    words = shlex.shlex(line, posix=True, punctuation_chars=";&|()<>")
    words.whitespace_split, words.commenters = True, "#"
    command: list[str] = []
    for word in [*words, ";"]:
        if set(word) <= set(";&|()<>"):
            if command:
                yield command
            command = []
        else:
            command.append(word)


def commands_of(block: Fenced) -> Iterator[list[str]]:
    """The commands of xpoll in a block. In a block of output they are what stands behind a prompt."""
    text = block.text.replace("\\\n", " ")
    lines = text.splitlines() if block.language == "bash" else re.findall(r"^\$ (.*)", text, re.MULTILINE)
    for line in lines:
        for command in as_typed(line):
            if Path(command[0]).name == "xpoll":
                yield command[1:]
            elif command[0] == "sbatch" and any(word.endswith("slurm.sh") for word in command):
                yield command[[word.endswith("slurm.sh") for word in command].index(True) + 1 :]
            elif command[:2] == ["docker", "run"] and "xpoll" in [word.partition(":")[0] for word in command]:
                yield command[[word.partition(":")[0] for word in command].index("xpoll") + 1 :]


def check_command(words: list[str]) -> None:
    """The parser takes it, the keys that it sets are keys, and the files of this project that it names are there."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parsed = parser(words[0]).parse_args(words)
    except SystemExit:
        pytest.fail(f"xpoll {shlex.join(words)}: {said.getvalue()}")
    if words[0] != "bench":
        raw: dict[str, Any] = {}
        apply_overrides(raw, list(getattr(parsed, "set", [])))
        as_job(raw)
    for word in words:
        if word.startswith(("configs/", "examples/", "scripts/")):
            assert (ROOT / word).exists(), f"xpoll {shlex.join(words)}: there is no {word}"


@pytest.mark.parametrize("block", blocks_in("bash", "text"))
def test_the_commands_of_a_page_are_commands(block: Fenced) -> None:
    for words in commands_of(block):
        check_command(words)


def test_the_shell_reads_every_block() -> None:
    """All of them in one shell, each as the body of a function that nobody calls."""
    script = "\n".join(
        f"block_{number}() {{ # {page.relative_to(ROOT)}:{block.line}\n{block.text}\n:\n}}"
        for page in PAGES
        for number, block in enumerate(blocks(page, "bash"))
    )
    told = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_that_prose_names_are_there(page: Path) -> None:
    named = set(re.findall(r"`(?:\.venv/bin/)?xpoll ([a-z]+)", page.read_text(encoding="utf-8")))
    assert not named - set(COMMANDS)


@pytest.mark.parametrize("block", blocks_in("jinja"))
def test_a_template_of_a_page_is_a_template(block: Fenced) -> None:
    assert template_of("slogan", block.text).messages(dict.fromkeys(["persona", "mood"], "loud"))


def test_what_a_client_of_the_server_sends_is_what_the_server_takes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[DecisionRequest] = []

    def create(**body: Any) -> SimpleNamespace:
        asked.append(DecisionRequest(**body))
        return SimpleNamespace(answers=[SimpleNamespace(choice="complaint"), SimpleNamespace(probability=0.9)])

    stand_in = ModuleType("openai")
    client = SimpleNamespace(decisions=SimpleNamespace(create=create))
    monkeypatch.setattr(stand_in, "OpenAI", lambda base_url, api_key: client, raising=False)
    monkeypatch.setitem(sys.modules, "openai", stand_in)
    run_python(ROOT / "docs/howto/serving.md")
    assert [each.kind for each in asked[0].questions_about(["complaint", "question", "praise"])] == [
        "choice",
        "predicate",
    ]
    assert capsys.readouterr().out == "complaint 0.9\n"


def test_a_wrong_command_of_a_page_is_found() -> None:
    block = Fenced(
        "bash", 'cd x && .venv/bin/xpoll run a.toml --set engine.modell=b; xpoll plan "a b"  # xpoll no\n', 1
    )
    assert list(commands_of(block)) == [["run", "a.toml", "--set", "engine.modell=b"], ["plan", "a b"]]
    shown = Fenced("text", "$ sbatch -p gpu scripts/cluster/slurm.sh run a.toml\nxpoll: stopped\n", 1)
    assert list(commands_of(shown)) == [["run", "a.toml"]]
    with pytest.raises(XpollError, match="unknown config key engine.modell"):
        check_command(["run", "a.toml", "--set", "engine.modell=b"])
    with pytest.raises(pytest.fail.Exception, match="required: job"):
        check_command(["run"])
    with pytest.raises(AssertionError, match="there is no configs/none.toml"):
        check_command(["run", "configs/none.toml"])
