"""Every example runs on every backend that needs no weights, with nothing but `engine.backend` changed.

The backend vllm runs them in `make demo`.
"""

from pathlib import Path

import pytest

from tests.conftest import ROOT, Xpoll
from xpoll.core.config.file import load_config
from xpoll.core.files import read_json

pytestmark = pytest.mark.engine

JOBS = sorted((ROOT / "examples").glob("*/job.toml"))


@pytest.mark.parametrize("backend", ["replay", "simulated"])
@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.parent.name)
def test_an_example_runs_without_an_engine(job: Path, backend: str, tmp_path: Path, xpoll: Xpoll) -> None:
    config = load_config(job)
    settings = ("--set", f"engine.backend={backend}", "--set", f"job.run_folder={tmp_path / 'run'}")
    for step in ("poll", "vote", "report"):
        done = xpoll(step, job, *settings, timeout_s=300)
        assert done.returncode == 0, done.stderr
    metrics = read_json(tmp_path / "run/metrics.json")
    assert metrics["engine"]["backend"] == backend
    assert metrics["errors"] == {}
    assert metrics["completions"] == metrics["documents"] * len(config.panel.personas) * config.panel.samples
