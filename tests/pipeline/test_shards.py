"""A job whose texts are polled in shards by the hash of their ids, as docs/explanation/scale.md says."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from xpoll.scripts.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "scale.md"
JOB = """
job.run_folder = "run"
[documents]
path = "texts.jsonl"
id_column = "id"
[task]
labels = ["good", "bad", "neither"]
[panel]
personas = ["annotator"]
answer = "label"
samples = 3
[engine]
backend = "simulated"
device = "cpu"
[engine.simulated]
time_scale = 0
agreement = 0.6
"""


@pytest.fixture
def shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that the page's program makes of 200 texts; the job is in the working folder, job.toml."""
    monkeypatch.chdir(tmp_path)
    lines = [json.dumps({"id": f"text-{number}", "text": f"sentence {number}"}) for number in range(200)]
    Path("texts.jsonl").write_text("".join(f"{line}\n" for line in lines))
    Path("job.toml").write_text(JOB)
    (program,) = re.findall(r"```python\n(import json.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    subprocess.run([sys.executable, "-c", program], check=True)
    return sorted(tmp_path.glob("texts-*.jsonl"))


def test_each_text_is_in_the_one_shard_that_its_id_says(shards: list[Path]) -> None:
    ids = [{json.loads(line)["id"] for line in shard.read_text().splitlines()} for shard in shards]
    assert len(ids) == 4
    assert sum(map(len, ids)) == len(set.union(*ids)) == 200
    assert min(map(len, ids)) > 30


@pytest.mark.engine
def test_runs_of_shards_joined_have_the_labels_of_one_run(shards: list[Path]) -> None:
    for number, shard in enumerate(shards[:2]):
        of_shard = ["--set", f"documents.path={shard.name}", "--set", f"job.run_folder=shard-{number}"]
        assert main(["poll", "job.toml", *of_shard]) == 0
    Path("texts.jsonl").write_text("".join(shard.read_text() for shard in shards[:2]))
    assert main(["poll", "job.toml", "--set", "job.run_folder=whole"]) == 0
    assert main(["vote", "whole"]) == 0
    completions = 'engine.replay.path=["shard-0/completions", "shard-1/completions"]'
    joined = ["--set", "engine.backend=replay", "--set", completions, "--set", "job.run_folder=joined"]
    assert main(["poll", "job.toml", *joined]) == 0
    assert main(["vote", "joined"]) == 0
    columns = ["document_id", "label", "shares"]
    found = [pq.read_table(f"{run}/labels.parquet") for run in ("whole", "joined")]
    columns = [name for name in columns if name in found[0].column_names]
    whole, both = (table.select(columns).sort_by("document_id").to_pylist() for table in found)
    assert len(whole) > 80
    assert whole == both
    assert {row["label"] for row in whole} >= {"good", "bad", "neither"}
