"""What earlier runs answered is known again, document by document."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xpoll.core.records import COMPLETION_SCHEMA, AnswerSchema, Completion, Prompt, Sampling, to_table
from xpoll.engine.journal.journal import Journal
from xpoll.engine.journal.ledger import Ledger
from xpoll.engine.work import NeverStop, Work


@dataclass(frozen=True)
class SettledByTwo:
    def fewest(self, answers: Sequence[Completion], left: int) -> int:
        return max(0, 2 - len(answers))


def work(document_id: str, samples: int = 3) -> Work:
    sampling, schema = Sampling(0.8, 1.0, 16), AnswerSchema(("a", "b"))
    return Work(document_id, tuple(Prompt(document_id, "p", i, (), sampling, schema) for i in range(samples)))


def journal(folder: Path, *answers: tuple[str, int]) -> None:
    rows = [Completion(document_id, "p", sample, text="a") for document_id, sample in answers]
    with Journal(folder) as opened:
        opened.append(to_table(rows, COMPLETION_SCHEMA).to_batches())


def test_without_answers_all_work_is_left(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, asked_each=3, stop=NeverStop())
    assert ledger.left_of(work("x")) == work("x")
    assert ledger.settled == 0


def test_a_settled_document_is_not_asked_and_an_open_one_only_for_the_rest(tmp_path: Path) -> None:
    journal(tmp_path, ("x", 0), ("y", 1), ("x", 1), ("x", 2))
    ledger = Ledger(tmp_path, asked_each=3, stop=NeverStop())
    assert (ledger.settled, ledger.answers) == (1, 4)
    assert ledger.left_of(work("x")) is None
    left = ledger.left_of(work("y"))
    assert left is not None
    assert [prompt.sample for prompt in left.prompts] == [0, 2]
    assert [answer.sample for answer in left.answers] == [1]
    assert ledger.left_of(work("z")) == work("z")


def test_a_document_with_more_answers_than_are_asked_for_is_settled_and_one_with_fewer_is_open(tmp_path: Path) -> None:
    journal(tmp_path, ("x", 0), ("x", 1), ("x", 2), ("y", 0))
    ledger = Ledger(tmp_path, asked_each=2, stop=NeverStop())
    assert [ledger.is_settled(name) for name in "xyz"] == [True, False, False]


def test_what_is_left_of_work_is_what_is_not_settled(tmp_path: Path) -> None:
    all_work = [work(name) for name in "xyz"]
    assert list(Ledger(tmp_path / "empty", asked_each=3, stop=NeverStop()).left(iter(all_work))) == all_work
    journal(tmp_path / "run", ("x", 0), ("y", 1), ("x", 1), ("x", 2))
    ledger = Ledger(tmp_path / "run", asked_each=3, stop=NeverStop())
    assert [(each.document_id, len(each.prompts)) for each in ledger.left(iter(all_work))] == [("y", 2), ("z", 3)]


def test_the_stop_rule_settles_a_document_before_all_is_answered(tmp_path: Path) -> None:
    journal(tmp_path, ("x", 0), ("y", 1), ("x", 1))
    ledger = Ledger(tmp_path, asked_each=3, stop=SettledByTwo())
    assert ledger.is_settled("x")
    assert not ledger.is_settled("y")


def test_many_documents_are_told_apart(tmp_path: Path) -> None:
    journal(tmp_path, *((f"doc-{i}", 0) for i in range(0, 2000, 2)))
    ledger = Ledger(tmp_path, asked_each=1, stop=NeverStop())
    assert ledger.settled == 1000
    assert [ledger.is_settled(f"doc-{i}") for i in range(2000)] == [i % 2 == 0 for i in range(2000)]
