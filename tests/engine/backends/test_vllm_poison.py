"""A text that kills vLLM's engine, and with it the worker's process, costs a whole poll its own rows and no other."""

import json
import shutil
import textwrap
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import Xpoll
from tests.support import reckless_vllm
from tests.support.tiny import make_tiny_llama
from xpoll.core.files import read_json
from xpoll.engine.journal.answers import read_completions

pytestmark = pytest.mark.engine

DOCUMENTS, POISONED, SAMPLES = 4, 2, 2


def write_job(folder: Path) -> None:
    """A job whose backend lies beside it, as a user's own would."""
    shutil.copy(reckless_vllm.__file__, folder / "reckless_vllm.py")
    texts = [f"the weather is number {i} today" for i in range(DOCUMENTS)]
    texts[POISONED] = reckless_vllm.POISON
    (folder / "texts.csv").write_text("id,text\n" + "".join(f"t{i},{text}\n" for i, text in enumerate(texts)))
    job = f"""
        [job]
        run_folder = "run"
        [documents]
        path = "texts.csv"
        id_column = "id"
        [task]
        labels = ["good", "bad"]
        [panel]
        personas = ["software_engineer"]
        samples = {SAMPLES}
        logprobs = false
        [engine]
        backend = "reckless_vllm:RecklessVllm"
        device = "cpu"
        replicas = 1
        max_in_flight = {2 * SAMPLES}
        model = "{make_tiny_llama(folder / "tiny", context=2048)}"
        options = {{dtype = "float32", kv_cache_memory_bytes = {2**28}, max_model_len = 1024}}
        """
    (folder / "job.toml").write_text(textwrap.dedent(job))


def test_a_text_that_kills_the_engine_costs_a_poll_its_own_rows(tmp_path: Path, xpoll: Xpoll) -> None:
    write_job(tmp_path)
    done = xpoll("poll", "job.toml", "--json", cwd=tmp_path, timeout_s=900)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    completions = list(read_completions(tmp_path / "run/completions"))
    assert len({completion.key for completion in completions}) == len(completions) == DOCUMENTS * SAMPLES
    kinds = Counter((completion.document_id, completion.error_kind) for completion in completions)
    poisoned = f"t{POISONED}"
    innocent = {(f"t{i}", None): SAMPLES for i in range(DOCUMENTS) if i != POISONED}
    assert kinds == innocent | {(poisoned, "poison"): SAMPLES}
    assert {each.text for each in completions if each.document_id != poisoned} <= {"good", "bad"}
    assert f"{SAMPLES} poison" in done.stderr and poisoned in done.stderr, done.stderr
    assert json.loads(done.stdout)["step"] == "poll"
    assert len(read_json(tmp_path / "run/engine.json")["sessions"]) == 1, "one poll did all of it"
