"""Every example that polls runs on the backends that need no weights, with nothing but `engine.backend` changed.

The backend vllm runs the demo in `make demo`.
"""

from pathlib import Path

import pytest

from tests.conftest import ROOT, Xpoll, in_this_process
from xpoll.core.config.file import load_config
from xpoll.core.config.teachers import asked_each
from xpoll.core.files import read_json

pytestmark = pytest.mark.engine

JOBS = {path.parent.name: load_config(path) for path in sorted((ROOT / "examples").glob("*/job.toml"))}
POLLS = [name for name, config in JOBS.items() if not config.student.is_generative]
RECORDED = [name for name in POLLS if "replay" in (JOBS[name].engine.model_extra or {})]


def test_there_are_some_of_each_kind() -> None:
    assert "shop_messages" in POLLS and RECORDED == ["investor_sentiment"] and len(POLLS) < len(JOBS)


@pytest.mark.parametrize(
    ("name", "backend"), [*((each, "simulated") for each in POLLS), *((each, "replay") for each in RECORDED)]
)
def test_an_example_runs_without_an_engine(name: str, backend: str, tmp_path: Path, xpoll: Xpoll) -> None:
    settings = ("--set", f"engine.backend={backend}", "--set", f"job.run_folder={tmp_path / 'run'}")
    if backend == "simulated":
        settings += ("--set", "engine.simulated.time_scale=0")
    for step in ("poll", "vote", "report"):
        command = (step, ROOT / f"examples/{name}/job.toml", *settings)
        done = xpoll(*command, timeout_s=300) if step == "poll" else in_this_process([*map(str, command)], ROOT)
        assert done.returncode == 0, done.stderr
    metrics = read_json(tmp_path / "run/metrics.json")
    assert backend in metrics["engine"]["backend"].split(" + ")
    assert metrics["errors"] == {}
    assert metrics["completions"] == metrics["documents"] * asked_each(JOBS[name])
