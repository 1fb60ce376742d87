"""No job, persona, template or recipe is more than one line of error, whatever is in its file."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.conftest import ROOT
from tests.support.hostile import ROTTEN, anything, examples, holds, mutated, word
from xpoll.core.config.file import load_config
from xpoll.core.config.job import Config
from xpoll.personas.persona import load_panel
from xpoll.student.recipe import load_recipe
from xpoll.synthesis.template import load_templates

DEEP_TOML = b"a = " + b"[" * 20_000
JOB = (ROOT / "examples/shop_messages/job.toml").read_bytes()
PERSONA = (ROOT / "personas/library/retail_investor.toml").read_bytes()
TEMPLATE = (ROOT / "synthesis/templates/labelled_text.md").read_bytes()
KEYS = [
    f"{name}.{key}"
    for name, field in Config.model_fields.items()
    for key in getattr(field.annotation, "model_fields", {})
]


def read(folder: Any, name: str, content: bytes, reader: Any) -> None:
    path = folder.mktemp("job") / name
    path.write_bytes(content)
    holds(lambda: reader(path), size=max(len(content), 10_000))


@examples(30)
@given(mutated(JOB) | st.binary(max_size=60))
@example(DEEP_TOML)
@example(b"[task]\nlabels = 3\n[documents]\npath = 3")
def test_a_job(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    read(tmp_path_factory, "job.toml", content, load_config)


@examples(60)
@given(st.lists(st.tuples(st.sampled_from(KEYS) | word, anything), max_size=3))
def test_any_value_of_any_key(values: list[tuple[str, Any]]) -> None:
    job = ROOT / "examples/shop_messages/job.toml"
    given = [f"{key}={json.dumps(value)}" for key, value in values]
    holds(lambda: load_config(job, given), size=10_000)


@examples(20)
@given(st.sampled_from(ROTTEN) | anything.map(lambda value: json.dumps(value).encode()))
def test_the_config_of_a_run_folder(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    read(tmp_path_factory, "config.resolved.json", content, lambda path: load_config(path.parent))


@examples(30)
@given(mutated(PERSONA) | st.binary(max_size=60))
@example(DEEP_TOML)
def test_a_persona(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    read(tmp_path_factory, "persona.toml", content, lambda path: load_panel([str(path)]))


@examples(30)
@given(mutated(TEMPLATE) | st.binary(max_size=60))
@example(b"+++\n" + DEEP_TOML + b"\n+++\nbody")
@example(b'+++\nabout = "x"\n+++\n{{' + b"(" * 20_000)
def test_a_template(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    read(tmp_path_factory, "template.md", content, lambda path: load_templates([str(path)]))


@pytest.mark.parametrize("content", [DEEP_TOML, b"\xff", b"= 1", b"a = 1"])
def test_a_recipe(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    read(tmp_path_factory, "recipe.toml", content, lambda path: load_recipe(str(path)))
