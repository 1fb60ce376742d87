"""Batch files from end to end: killed and resumed on the simulated engine, and once on vLLM."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Xpoll
from tests.engine.batch.test_requests import line
from tests.support.tiny import make_tiny_llama
from xpoll.engine.journal.answers import count_answers

pytestmark = pytest.mark.engine

SIMULATED = ("--set", "engine.backend=simulated", "--set", "engine.device=cpu", "--set", "engine.max_in_flight=32")
START_S = 600  # an engine start takes 25 to 60 s here; a busy or slower machine gets its time


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(made) for made in path.read_text(encoding="utf-8").splitlines()]


def test_killed_and_run_again_every_line_ends_once_and_in_order(tmp_path: Path, xpoll: Xpoll) -> None:
    lines = [line(f"id-{i}", n=1 + i % 2, temperature=-1 if i % 100 == 7 else 1) for i in range(900)]
    (tmp_path / "in.jsonl").write_text("\n".join([*lines[:450], "nonsense", *lines[450:]]))
    short = ("--set", "engine.simulated.text_output_tokens=24")
    arguments = ["batch", "-i", "in.jsonl", "-o", "out.jsonl", "--model", "m", *SIMULATED, *short]
    with subprocess.Popen([sys.executable, "-P", "-m", "xpoll", *arguments], cwd=tmp_path) as driver:
        while count_answers(tmp_path / "out.jsonl.run/completions") < 100:
            assert driver.poll() is None
            time.sleep(0.05)
        os.kill(driver.pid, signal.SIGKILL)
    assert not (tmp_path / "out.jsonl").exists()
    state = json.loads(xpoll("status", "out.jsonl.run", "--json", cwd=tmp_path).stdout)
    assert 100 <= state["answered"] < state["prompts"] == 1341
    assert state["steps_done"] == []

    done = xpoll(*arguments, "--json", cwd=tmp_path, timeout_s=START_S)
    assert done.returncode == 0, done.stderr
    summary = {"lines": 901, "answered": 891, "errors": 10, "output": "out.jsonl", "run_folder": "out.jsonl.run"}
    assert json.loads(done.stdout) == summary
    assert count_answers(tmp_path / "out.jsonl.run/completions") == 1341
    made = read(tmp_path / "out.jsonl")
    expected = [f"id-{i}" for i in range(900)]
    assert [one["custom_id"] for one in made] == [*expected[:450], None, *expected[450:]]
    assert [len(one["response"]["body"]["choices"]) for one in made[:3]] == [1, 2, 1]
    assert made[7]["error"]["error"]["message"].startswith("body.temperature: ")

    again = xpoll(*arguments, "--json", cwd=tmp_path)
    assert (again.returncode, json.loads(again.stdout)) == (0, summary)
    assert "nothing left to do" in again.stderr
    other_model = xpoll("batch", "in.jsonl", "out.jsonl", "--model", "m2", *SIMULATED, cwd=tmp_path)
    assert "out.jsonl is there and was not written by this batch" in other_model.stderr
    elsewhere = xpoll(
        "batch",
        "in.jsonl",
        "b.jsonl",
        "--model",
        "m2",
        "--run-folder",
        "out.jsonl.run",
        *SIMULATED,
        *short,
        cwd=tmp_path,
    )
    assert "keys that differ: engine.model, output -> set --run-folder" in elsewhere.stderr
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    changed = xpoll(*arguments, cwd=tmp_path)
    assert "in.jsonl has changed since out.jsonl.run was begun" in changed.stderr


def test_rows_added_to_a_finished_poll_are_asked(tmp_path: Path, xpoll: Xpoll) -> None:
    (tmp_path / "texts.csv").write_text("text\nRain.\nFog.\n")
    (tmp_path / "job.toml").write_text(
        """
        job.run_folder = "run"
        documents.path = "texts.csv"
        task.labels = ["good", "bad"]
        engine = { backend = "simulated", device = "cpu" }
        """
    )
    for rows, answers in ((["Rain.", "Fog."], 2), (["Rain.", "Fog.", "Snow."], 3)):
        (tmp_path / "texts.csv").write_text("\n".join(["text", *rows]))
        done = xpoll("poll", "job.toml", cwd=tmp_path, timeout_s=START_S)
        assert done.returncode == 0, done.stderr
        assert count_answers(tmp_path / "run/completions") == answers
        voted = xpoll("vote", "run", "--json", cwd=tmp_path)
        assert voted.returncode == 0, voted.stderr
    (tmp_path / "texts.csv").write_text("text\nSun.\nRain.\nFog.\nSnow.")
    refused = xpoll("run", "job.toml", cwd=tmp_path)
    assert "the first 3 rows of texts.csv are not the ones that were polled" in refused.stderr


def test_on_vllm_lines_of_every_kind_end_as_they_should(tmp_path: Path, xpoll: Xpoll) -> None:
    model = str(make_tiny_llama(tmp_path / "model"))
    schema = {"type": "object", "properties": {"a": {"enum": ["x"]}}, "required": ["a"], "additionalProperties": False}
    lines = [
        line("plain", max_tokens=8),
        line("choices", max_tokens=4, n=3, temperature=0.7),
        line("schema", max_tokens=200, structured_outputs={"json": schema, "disable_any_whitespace": True}),
        line("object", max_tokens=100, response_format={"type": "json_object"}),
        line("choice", guided_choice=["yes", "no"]),
        line("regex", structured_outputs={"regex": "[ab]{3}"}),
        line("all at once", max_tokens=8, stop=["e"], presence_penalty=1, top_k=5, min_p=0.1, logit_bias={"65": 3}),
        line("no limit", temperature=0, stop_token_ids=list(range(260))),
        line("seed", max_tokens=8, seed=1),
        line("out of vocabulary", logit_bias={"99999": 1}),
        line("no schema", response_format={"type": "json_schema", "json_schema": {"schema": {"type": "nonsense"}}}),
        line("too long", max_tokens=8, messages=[{"role": "user", "content": "x" * 3000}]),
    ]
    lines = [made.replace('"model": "m"', f'"model": "{model}"') for made in lines]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    done = xpoll("batch", "in.jsonl", "out.jsonl", "--set", "engine.device=cpu", cwd=tmp_path, timeout_s=START_S)
    assert done.returncode == 0, done.stderr
    made = {one["custom_id"]: one for one in read(tmp_path / "out.jsonl")}
    said = {name: one["error"]["error"]["message"] for name, one in made.items() if one["error"]}
    assert said.keys() == {"seed", "out of vocabulary", "no schema", "too long"}
    assert said["seed"] == "a seed of a prompt's own ends vLLM's CPU engine; leave it out"
    assert "99999" in said["out of vocabulary"]
    assert "nonsense" in said["no schema"]
    assert "512" in said["too long"]
    assert {made[name]["response"]["status_code"] for name in said} == {400}
    texts = {
        name: [choice["message"]["content"] for choice in one["response"]["body"]["choices"]]
        for name, one in made.items()
        if not one["error"]
    }
    assert len(texts["choices"]) == 3
    assert json.loads(texts["schema"][0]) == {"a": "x"}
    assert texts["choice"][0] in ("yes", "no")
    assert set(texts["regex"][0]) <= {"a", "b"}
    assert len(texts["regex"][0]) == 3
    assert made["no limit"]["response"]["body"]["usage"]["completion_tokens"] == 1
    assert made["plain"]["response"]["body"]["model"] == model
