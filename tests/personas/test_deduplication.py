"""De-duplication of a file keeps what comparing every pair keeps, and says what it took out."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import Xpoll
from xpoll.benchmarks.workloads.planted_personas import plant, write_planted
from xpoll.core.errors import InputError
from xpoll.personas.deduplication import deduplicate as module
from xpoll.personas.deduplication.deduplicate import deduplicate
from xpoll.personas.deduplication.embeddings import mark_near
from xpoll.personas.deduplication.minhash import MOST_COMPARED, candidates_of, shingle_hashes
from xpoll.personas.near_duplicates import shingles_of, without_near_duplicates


def write(path: Path, texts: list[str]) -> str:
    path.write_text("".join(json.dumps({"persona": text}) + "\n" for text in texts))
    return str(path)


def kept_of(path: Path) -> list[str]:
    return [json.loads(line)["persona"] for line in path.read_text().splitlines()]


def test_a_file_keeps_what_the_index_in_memory_keeps(tmp_path: Path) -> None:
    texts = [each.persona for each in plant(1500, seed=3)]
    found = deduplicate(write(tmp_path / "in.jsonl", texts), tmp_path / "out.jsonl")
    distinct = list({text.casefold(): text for text in reversed(texts)}.values())[::-1]
    wanted = {distinct[i] for i in without_near_duplicates(distinct)}
    kept = set(kept_of(tmp_path / "out.jsonl"))
    assert len(kept ^ wanted) <= 0.01 * len(wanted), "banding misses hardly a pair"
    assert found.read == 1500 and found.kept == len(kept)
    assert found.read == found.kept + found.skipped + found.duplicates + found.near_duplicates


def test_planted_duplicates_are_found_and_their_like_are_kept(tmp_path: Path) -> None:
    planted = write_planted(tmp_path / "in.jsonl", 3000, seed=1)
    deduplicate(str(tmp_path / "in.jsonl"), tmp_path / "out.jsonl")
    found = planted.found(tmp_path / "out.jsonl")
    assert found.exact_recall == 1.0
    assert found.near_recall >= 0.97 and found.near_precision >= 0.99, found
    assert found.near > 50 and found.alike > 20


def test_order_and_rows_without_a_persona_do_not_matter_to_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text('persona\na baker of rye bread\n"I am a baker"\na Baker of  rye bread\na diver who reads maps\n')
    found = deduplicate(str(path), tmp_path / "out.jsonl")
    assert (found.read, found.skipped, found.duplicates, found.kept) == (4, 1, 1, 2)
    assert kept_of(tmp_path / "out.jsonl") == ["a baker of rye bread", "a diver who reads maps"]
    with pytest.raises(InputError, match=r"is no \.jsonl file"):
        deduplicate(str(path), tmp_path / "out.csv")
    with pytest.raises(InputError, match="holds no persona"):
        deduplicate(write(tmp_path / "none.jsonl", ["I am", ""]), tmp_path / "out2.jsonl")
    assert not (tmp_path / "out2.jsonl").exists()


def test_a_group_of_copies_takes_no_square_of_comparisons() -> None:
    texts = np.arange(0, 2000, 2)
    pairs = list(candidates_of(np.zeros(1000, np.uint64), texts))
    assert sum(len(later) for later, _ in pairs) <= MOST_COMPARED * 1000
    assert all((later > earlier).all() and set(later) <= set(texts) for later, earlier in pairs)


def test_embeddings_near_an_earlier_one_are_marked_whatever_the_clusters() -> None:
    draw = np.random.default_rng(0)
    middles = draw.normal(size=(40, 32))
    vectors = middles[draw.integers(0, 40, 9000)] + 0.9 * draw.normal(size=(9000, 32))
    planted = draw.choice(np.arange(4500, 9000), 300, replace=False)
    vectors[planted] = vectors[planted - 4500] + 0.15 * draw.normal(size=(300, 32))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    near = (vectors[planted].astype(np.float32) * vectors[planted - 4500].astype(np.float32)).sum(1) >= 0.95
    gone = np.zeros(9000, bool)
    assert mark_near(vectors, gone, near=0.95) == 4
    assert gone[planted[near]].mean() >= 0.97
    for i in np.flatnonzero(gone)[:200]:
        assert (vectors[:i].astype(np.float32) @ vectors[i].astype(np.float32)).max() >= 0.945


def test_embeddings_come_after_shingles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["a baker of rye bread", "a person who bakes bread from rye", "a diver who reads maps"]

    def vectors(spool: object, path: Path) -> np.ndarray:
        return np.array([[1, 0], [0.99, 0.14], [0, 1]], np.float16)

    monkeypatch.setattr(module, "write_embeddings", vectors)
    found = deduplicate(write(tmp_path / "in.jsonl", texts), tmp_path / "out.jsonl", embeddings=True)
    assert (found.near_duplicates, found.near_embeddings, found.kept) == (0, 1, 2)
    assert "1 of nearly the same meaning" in found.lines()[1]


def test_the_command_says_what_became_of_the_personas(tmp_path: Path, xpoll: Xpoll) -> None:
    random.seed(0)
    source = write(tmp_path / "in.jsonl", ["a baker of rye bread", "a baker of rye bread", "a diver who reads maps"])
    done = xpoll("personas", "dedup", source, tmp_path / "out.jsonl")
    assert done.returncode == 0 and "taken out: 1 duplicates, 0 near-duplicates" in done.stdout
    done = xpoll("personas", "dedup", source, tmp_path / "out.jsonl", "--similarity", 0.2)
    assert done.returncode == 2 and "--similarity must be from 0.5 to 1" in done.stderr
    assert xpoll("personas", "dedup", "nowhere.jsonl", tmp_path / "o.jsonl").returncode == 2


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.sampled_from("aB é\U0001f4b3 \u0130"), max_size=14), min_size=1, max_size=6))
def test_shingles_are_told_apart_by_numbers_as_by_their_characters(texts: list[str]) -> None:
    hashes, begins = shingle_hashes(texts)
    found = [set(each.tolist()) for each in np.split(hashes, begins[1:])]
    shingles = [shingles_of(text) for text in texts]
    assert [len(each) for each in found] == [len(each) for each in shingles]
    for ours, theirs in zip(found, shingles, strict=True):
        assert [len(ours & other) for other in found] == [len(theirs & other) for other in shingles]
