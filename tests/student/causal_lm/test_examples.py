"""Rows with completions are read as they come; a row that cannot be learned is kept with its problem."""

import importlib.util
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.student.causal_lm.conftest import section, written
from xpoll.core.config.job import DocumentsConfig
from xpoll.core.errors import ConfigError, InputError, RunFolderError
from xpoll.student.causal_lm.examples import notes, of_split, read_examples, write_examples, written_examples
from xpoll.student.causal_lm.recipe import lora_recipe_names, with_recipe
from xpoll.student.causal_lm.train import check_causal

USER = {"role": "user", "content": "two and two?"}
ANSWER = {"role": "assistant", "content": "four"}


@pytest.mark.parametrize(
    ("row", "prompt", "completion"),
    [
        ({"prompt": "two and two?", "completion": "four"}, [USER], "four"),
        ({"prompt": [USER], "completion": [ANSWER]}, [USER], "four"),
        ({"messages": [USER, ANSWER]}, [USER], "four"),
        ({"messages": json.dumps([USER, ANSWER, USER, ANSWER])}, [USER, ANSWER, USER], "four"),
        ({"text": "a whole text", "prompt": None, "completion": None}, [], "a whole text"),
    ],
)
def test_every_form_of_a_row_is_a_prompt_and_a_completion(
    tmp_path: Path, row: dict[str, object], prompt: list[object], completion: str
) -> None:
    (found,) = written(tmp_path, row, held_out=0)
    assert (found.messages, found.completion, found.problem) == (prompt, completion, None)
    assert (found.prompt is None) == (not prompt)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"prompt": "p"}, "it has a prompt and no completion"),
        ({"completion": "c"}, "it has a completion and no prompt"),
        ({"prompt": "p", "completion": "  "}, "completion holds no text"),
        ({"messages": [USER]}, "the last of its messages is not the assistant's"),
        ({"messages": "{"}, "messages are no JSON"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "needs a role of system, user, assistant"),
        ({"messages": [{"role": "user", "content": [{"image": 1}]}, ANSWER]}, "a text as its content"),
        ({"messages": 3}, "messages are no list"),
        ({"label": "x"}, "it has no messages, no prompt and completion, and no text"),
        (
            {
                "prompt": "p",
                "completion": "c",
                "problem": "refusal",
                "persona": "",
                "template": "",
                "finish_reason": "",
            },
            "not kept when it was written: refusal",
        ),
    ],
)
def test_a_row_that_cannot_be_learned_is_kept_with_its_problem(
    tmp_path: Path, row: dict[str, object], problem: str
) -> None:
    good = {"prompt": "p", "completion": "c"}
    found = written(tmp_path, good, row, good | {"prompt": "q"}, held_out=0)
    assert [each.problem is None for each in found] == [True, False, True]
    assert problem in str(found[1].problem)
    assert list(notes(found)) == [f"1 of 3 rows are left out; the first: row '1': {found[1].problem}"]


def test_a_maths_problem_is_no_problem_of_the_row(tmp_path: Path) -> None:
    (found,) = written(tmp_path, {"problem": "2 + 2", "prompt": "p", "completion": "c"}, held_out=0)
    assert found.problem is None


def test_nullable_columns_of_parquet_are_read_row_by_row(tmp_path: Path) -> None:
    table = pa.table({"prompt": ["p", None], "completion": ["c", None], "text": [None, "t"]})
    pq.write_table(table, tmp_path / "synthesized.parquet")
    found = read_examples(DocumentsConfig(path=str(tmp_path / "synthesized.parquet")), held_out=0)
    assert [(each.prompt is None, each.completion) for each in found] == [(False, "c"), (True, "t")]


def test_rows_of_one_prompt_are_on_one_side_and_no_row_moves_when_others_join(tmp_path: Path) -> None:
    values = [{"prompt": f"what is {i}?", "completion": f"{copy}"} for i in range(300) for copy in range(2)]
    values += [{"prompt": f"What  is {i}?", "completion": "again"} for i in range(300)]
    found = written(tmp_path, *values)
    split = {each.messages[0]["content"].lower().replace("  ", " "): each.split for each in found}
    assert all(split[each.messages[0]["content"].lower().replace("  ", " ")] == each.split for each in found)
    assert 0.14 < sum(side == "held_out" for side in split.values()) / 300 < 0.26
    fewer = written(tmp_path, *values[::-2])
    assert {each.prompt: each.split for each in fewer}.items() <= {each.prompt: each.split for each in found}.items()


def test_a_file_without_a_row_to_train_on_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none of the 1 rows .* can be trained on; the first: it has a prompt and no"):
        written(tmp_path, {"prompt": "p"})


def test_ids_are_unique(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("key,text\na,one\na,two\n", encoding="utf-8")
    with pytest.raises(InputError, match="two rows have the id 'a'"):
        read_examples(DocumentsConfig(path=str(path), id_column="key"), held_out=0)


def test_what_is_written_is_what_is_read_and_a_cut_file_is_one_line(tmp_path: Path) -> None:
    found = written(tmp_path, {"prompt": "p", "completion": "c"}, {"prompt": "q"}, {"text": "t"}, held_out=0)
    path = tmp_path / "examples.parquet"
    write_examples(path, found)
    assert written_examples(path) == found
    assert len(of_split(found, "train")) == 2
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(RunFolderError, match="examples.parquet cannot be read .* -> xpoll train"):
        written_examples(path)


def test_a_job_s_tables_win_over_its_recipe_key_by_key(tmp_path: Path) -> None:
    assert lora_recipe_names() == ["packed", "plain"]
    made = with_recipe(section(tmp_path, recipe="packed", lora={"r": 4}, trainer={"weight_decay": 0.1}))
    assert made.lora == {"r": 4, "lora_alpha": 32, "lora_dropout": 0.0, "target_modules": "all-linear"}
    assert made.trainer == {"gradient_checkpointing": False, "packing": True, "weight_decay": 0.1}
    own = tmp_path / "own.toml"
    own.write_text("[lora]\nr = 2\n[trainers]\n", encoding="utf-8")
    for recipe, said in (("robust", "has no recipe 'robust' -> .*packed, plain"), (str(own), "trainers: Extra inputs")):
        with pytest.raises(ConfigError, match=said):
            with_recipe(section(tmp_path, recipe=recipe))


def test_missing_packages_are_one_line_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in ("trl", "peft") else real(name))
    with pytest.raises(ConfigError, match="needs trl, peft -> pip install trl peft datasets"):
        check_causal(section(tmp_path))
