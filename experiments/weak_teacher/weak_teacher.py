"""What can be made of a weak teacher: raw, calibrated, a panel, and a panel weighed by reliability, side by side.

Polls examples/investor_sentiment with the real engine, label-only answers of the whole panel and, on some
texts, three chains of thought of its first persona. Train labels choose the best way; gold labels, which
nothing else has seen, score it. Both files have known labels; the votes see none.
"""

import csv
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from xpoll.benchmarks.runner.records import Parameters, Record
from xpoll.benchmarks.runner.subprocess_call import call_in_subprocess
from xpoll.core.config.file import load_config
from xpoll.core.config.job import Config
from xpoll.core.errors import EngineError
from xpoll.core.progress import say
from xpoll.core.records import Completion, Prompt
from xpoll.core.run_folder import RunFolder
from xpoll.personas.documents import stream_documents
from xpoll.personas.persona import load_panel
from xpoll.personas.probes import is_probe, probe_documents
from xpoll.personas.prompts import build_prompts
from xpoll.votes.ballots import Ballots, Shares, ballots_of
from xpoll.votes.compare import scores
from xpoll.votes.methods.calibration import calibrated, calibrated_answers, contextual
from xpoll.votes.methods.registry import METHODS
from xpoll.votes.methods.reliability import reliability_weighted
from xpoll.votes.parse import to_vote

EXAMPLE = Path(__file__).parents[2] / "examples" / "investor_sentiment"
CHAIN = "chain-"  # before the ids of texts that are thought about
RAW = "raw: one persona, argmax"


def measure(parameters: Parameters) -> Iterator[Record]:
    """One record a way of voting and split; then what the best gains, and what its answers cost."""
    for repeat in range(parameters["repeats"]):
        say(f"poll {repeat + 1} of {parameters['repeats']}")
        rows = call_in_subprocess(poll, parameters)["rows"]
        completions = [Completion(**{**row, "choice_logprobs": _tuple(row["choice_logprobs"])}) for row in rows]
        for record in figures_of(completions, parameters):
            yield {"repeat": repeat, **record}


def figures_of(completions: Sequence[Completion], parameters: Parameters) -> Iterator[Record]:
    """All figures, from the answers alone."""
    config = _config(parameters, "label")
    labels = list(config.task.labels)
    split_of, truth_of = _known(labels)
    bare = [answer for answer in completions if not answer.document_id.startswith(CHAIN)]
    thought = [answer for answer in completions if answer.document_id.startswith(CHAIN)]
    probes = [to_vote(answer, labels) for answer in bare if is_probe(answer.document_id)]
    bare = [answer for answer in bare if not is_probe(answer.document_id)]
    ids = list(split_of)
    truth = np.array([truth_of[name] for name in ids])
    ballots = ballots_of(ids, (to_vote(answer, labels) for answer in bare), labels, probes=probes)
    first = ballots.only(ballots.persona_of == ballots.persona_ids.index(config.panel.personas[0]))
    gold = {}
    right: dict[str, tuple[int, float]] = {}
    for arm, shares in _arms(first, ballots).items():
        for split in ("train", "gold"):
            rows = np.array([split_of[name] == split for name in ids])
            found = scores(shares[rows], truth[rows], labels)
            (low, high), _ = found.pop("accuracy_ci95"), found.pop("f1_macro_ci95")
            yield {"arm": arm, "split": split, **found, "accuracy_low": low, "accuracy_high": high}
            if split == "train":
                right[arm] = (found["right"], -found["ece"])
            else:
                gold[arm] = found["accuracy"]
    best = max((arm for arm in right if arm != RAW), key=lambda arm: right[arm])
    yield {"arm": f"chosen on train: {best}", "split": "gold", "best_gain": gold[best] - gold[RAW]}
    yield from _tokens(bare, thought, truth_of, labels)


def _arms(first: Ballots, panel: Ballots) -> Mapping[str, Shares]:
    arms = {
        RAW: _argmax(first),
        "one persona, calibrated": calibrated(first),
        "panel, majority": METHODS["majority"](panel),
        "panel, reliability weights": reliability_weighted(panel),
        "panel, calibrated": calibrated(panel),
        "panel, calibrated answers, majority": METHODS["majority"](calibrated_answers(panel)),
        "panel, calibrated answers, reliability weights": reliability_weighted(calibrated_answers(panel)),
        "panel, calibrated answers, posterior": METHODS["posterior"](calibrated_answers(panel)),
    }
    if panel.probes is not None:
        arms |= {"one persona, contextual": contextual(first), "panel, contextual": contextual(panel)}
    return arms


def _argmax(ballots: Ballots) -> Shares:
    """The distributions as the engine gave them: what greedy decoding would say."""
    assert ballots.distributions is not None
    summed = np.zeros((ballots.num_documents, len(ballots.labels)))
    np.add.at(summed, ballots.document_of, ballots.distributions)
    shares: Shares = summed / summed.sum(1, keepdims=True)
    return shares


def _tokens(
    bare: Sequence[Completion], thought: Sequence[Completion], truth_of: Mapping[str, int], labels: list[str]
) -> Iterator[Record]:
    """Output tokens a text of the panel's label-only answers, and of chains of thought on the texts that have them."""
    texts = {answer.document_id for answer in thought}
    ids = sorted(texts)
    ballots = ballots_of(ids, (to_vote(answer, labels) for answer in thought), labels)
    truth = np.array([truth_of[name.removeprefix(CHAIN)] for name in ids])
    found = scores(METHODS["majority"](ballots), truth, labels)
    low, high = found["accuracy_ci95"]
    of_panel = sum(answer.output_tokens for answer in bare) / len({answer.document_id for answer in bare})
    of_chains = sum(answer.output_tokens for answer in thought) / len(texts)
    yield {
        "arm": "one persona, majority of three chains of thought",
        "split": "gold",
        "documents": len(ids),
        "accuracy": found["accuracy"],
        "accuracy_low": low,
        "accuracy_high": high,
        "unparsable": len(thought) - len(ballots.label_of),
    }
    yield {
        "arm": "output tokens",
        "panel_tokens_per_text": of_panel,
        "chains_tokens_per_text": of_chains,
        "tokens_share": of_panel / of_chains,
    }


def poll(parameters: Parameters) -> Record:
    """All answers, in one session of the engine."""
    from xpoll.engine.journal.answers import read_completions
    from xpoll.engine.run import Workload, answer_prompts

    config = _config(parameters, "label")
    prompts, documents = _prompts(parameters)
    panel, chains = len(config.panel.personas), parameters["chains"]

    def asked_each(document_id: str) -> int:
        return chains if document_id.startswith(CHAIN) else panel  # texts without content included

    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(Path(folder))
        answer_prompts(Workload(prompts, documents, asked_each), config=config.engine, folder=run)
        completions = list(read_completions(run.completions))
    if errors := [answer.error for answer in completions if answer.error_kind]:
        raise EngineError(f"{len(errors)} prompts were not answered: {errors[0]}")
    return {"rows": [answer._asdict() for answer in completions]}


def _prompts(parameters: Parameters) -> tuple[Iterator[Prompt], int]:
    config, thinking = (_config(parameters, answer) for answer in ("label", "chain_of_thought"))
    documents = list(stream_documents(config.documents, list(config.task.labels)))
    panel = load_panel(config.panel.personas)
    gold = [document for document in documents if document.split == "gold"][: parameters["chain_documents"]]
    chained = [document._replace(document_id=f"{CHAIN}{document.document_id}") for document in gold]
    bare = [*documents, *probe_documents(config)]
    prompts = chain(build_prompts(bare, panel, config), build_prompts(chained, panel[:1], thinking))
    return prompts, len(bare) + len(chained)


def _config(parameters: Parameters, answer: str) -> Config:
    overrides = [
        f'documents.path="{EXAMPLE / "documents.csv"}"',
        f'documents.gold_path="{EXAMPLE / "gold.csv"}"',
        f'engine.backend="{parameters["backend"]}"',
        f'engine.model="{parameters["model"]}"',
        'engine.device="cpu"',
        f"panel.answer={answer}",
        f"panel.content_free={parameters['content_free']}",
        f"panel.samples={parameters['chains'] if answer == 'chain_of_thought' else 1}",
    ]
    return load_config(EXAMPLE / "job.toml", overrides)


def _known(labels: list[str]) -> tuple[dict[str, str], dict[str, int]]:
    """Split and number of the true label by document id, of both files."""
    split_of: dict[str, str] = {}
    truth_of: dict[str, int] = {}
    for name, split in (("documents", "train"), ("gold", "gold")):
        with (EXAMPLE / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                split_of[row["id"]], truth_of[row["id"]] = split, labels.index(row["label"])
    return split_of, truth_of


def _tuple(values: Any) -> tuple[float, ...] | None:
    return None if values is None else tuple(values)
