"""A panel from a file, drawn for each document, from the first prompt to the votes."""

import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.conftest import Xpoll
from xpoll.core.files import read_json
from xpoll.core.records import Consensus, from_table
from xpoll.engine.journal.answers import read_completions
from xpoll.personas.draw import drawn
from xpoll.personas.persona import Persona

pytestmark = pytest.mark.engine

DOCUMENTS = 200
TRADES = ["cook", "airline pilot", "judge", "coal miner", "night nurse", "sailor", "tax clerk", "piano tutor"]
JOB = """
[job]
run_folder = "run"
seed = 3
[documents]
path = "texts.csv"
[task]
labels = ["good", "bad"]
[panel]
personas = ["annotator"]
persona_file = "hub.jsonl"
select = 4
per_document = 2
samples = 2
[engine]
backend = "simulated"
device = "cpu"
[engine.simulated]
time_scale = 0
"""


def test_each_document_is_put_to_the_personas_drawn_for_it_and_a_rerun_asks_nobody_else(
    tmp_path: Path, xpoll: Xpoll
) -> None:
    (tmp_path / "job.toml").write_text(JOB)
    (tmp_path / "texts.csv").write_text("text\n" + "".join(f"sentence {i}\n" for i in range(DOCUMENTS)))
    lines = [json.dumps({"persona": f"A {trade} who reads the paper."}) for trade in TRADES]
    (tmp_path / "hub.jsonl").write_text("\n".join(lines))

    planned = json.loads(xpoll("plan", "job.toml", "--json", cwd=tmp_path).stdout)
    assert planned["prompts"] == DOCUMENTS * 2 * 2
    done = xpoll("poll", "job.toml", cwd=tmp_path, timeout_s=180)
    assert done.returncode == 0, done.stderr
    panel = [Persona(**row) for row in read_json(tmp_path / "run/panel.json")["personas"]]
    assert [persona.source for persona in panel] == ["library"] + ["hub.jsonl"] * 4
    asked = Counter((c.document_id, c.persona_id) for c in read_completions(tmp_path / "run/completions"))
    assert set(asked.values()) == {2}
    expected = {(str(i), p.persona_id) for i in range(DOCUMENTS) for p in drawn(panel, str(i), 2, seed=3)}
    assert set(asked) == expected

    (tmp_path / "hub.jsonl").unlink()
    for step in ("poll", "vote"):
        done = xpoll(step, "job.toml", cwd=tmp_path, timeout_s=60)
        assert done.returncode == 0, done.stderr
    labels = from_table(pq.read_table(tmp_path / "run/labels.parquet"), Consensus)
    assert {(row.votes_counted, row.votes_saved) for row in labels} == {(4, 0)}
    listed = json.loads(xpoll("panel", "job.toml", "--json", cwd=tmp_path).stdout)
    assert [row["persona_id"] for row in listed["personas"]] == [persona.persona_id for persona in panel]
    assert listed["selection"]["read"] == len(TRADES)
