"""Texts without content, put to every persona: what it answers to them is its bias and nothing else.

They are documents with reserved ids. Their answers are votes of their own (probes.parquet) and never
become labels; `vote.method = "contextual"` reads them.
"""

from xpoll.core.config.job import Config
from xpoll.core.records import Document

RESERVED = "xpoll-content-free-"


def probe_documents(config: Config) -> list[Document]:
    """The texts of `panel.content_free`; as often as there are labels where prompts name these in changing order."""
    times = len(config.task.labels) if config.panel.label_order == "permuted" else 1
    texts = [text for text in config.panel.content_free for _ in range(times)]
    return [Document(f"{RESERVED}{number}", text, "train") for number, text in enumerate(texts)]


def is_probe(document_id: str) -> bool:
    """Whether an answer is about a text without content."""
    return document_id.startswith(RESERVED)


def asked_of_probe(config: Config) -> int:
    """How many answers such a text gets: one of each persona, whoever is drawn for other texts."""
    return config.panel.size
