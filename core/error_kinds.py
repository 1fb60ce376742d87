"""The kinds of error rows: what each says, what mends it, and whether the request itself is at fault.

To add a kind: one line in KINDS.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """What is known of a kind of error row.

    Attributes:
        mend: What mends it, for the line that counts errors.
        of_the_request: Whether the row's own text or parameters are at fault; all other kinds are the engine's.
    """

    mend: str
    of_the_request: bool = False


_LOG = "see xpoll.log; the rows' column error has each one's reason"
KINDS: dict[str, ErrorKind] = {
    "document": ErrorKind(
        "correct these rows of documents.path; documents.parquet says what is wrong with each", of_the_request=True
    ),
    "template": ErrorKind("the model's chat template refuses these: take another engine.model", of_the_request=True),
    "context_length": ErrorKind(
        "text and answer do not fit into the model's context: see engine.vllm.max_model_len", of_the_request=True
    ),
    "refused": ErrorKind("the engine refuses these rows; its reason is in the column error", of_the_request=True),
    "parameter": ErrorKind("leave the key out that the reason names, or change it", of_the_request=True),
    "content_filter": ErrorKind("the endpoint's filter withholds these answers; ask another one", of_the_request=True),
    "no_text": ErrorKind(
        "the model thinks and says nothing: raise panel.max_tokens, or switch thinking off (engine.openai.extra_body)"
    ),
    "malformed": ErrorKind(
        "the engine's answers do not have the form of a chat completion: set engine.openai.base_url"
    ),
    "engine": ErrorKind(_LOG),
    "server": ErrorKind("the endpoint fails on these rows and not on others; its reason is in the column error"),
    "timeout": ErrorKind("raise engine.openai.request_timeout_s, and poll into another job.run_folder"),
    "rate_limited": ErrorKind("lower engine.openai.max_concurrency, and poll into another job.run_folder"),
    "backend": ErrorKind("a bug of the backend: the column error has its exception"),
    "poison": ErrorKind("the engine dies of these texts; leave them out of documents.path"),
    "not_recorded": ErrorKind("engine.replay.path holds no answer to these"),
}
"""Each kind that an error row can have."""
OF_THE_REQUEST = frozenset(name for name, kind in KINDS.items() if kind.of_the_request)
"""Kinds of error caused by the request itself; all others are caused by the engine."""
_MOST_KINDS = 4
_LONGEST_EXAMPLE = 200


def mend_of(kind: str) -> str:
    """What mends a kind of error row."""
    return KINDS[kind].mend if kind in KINDS else "completions/ holds what was answered, and the errors"


@dataclass(slots=True)
class ErrorCounts:
    """Errors among the answers of a run.

    Attributes:
        answers: Answers and error rows.
        kinds: How many error rows there are of each kind.
        first: Of each kind the first row: its document's id and its reason.
    """

    answers: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    first: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def errors(self) -> int:
        """Number of error rows."""
        return self.kinds.total()

    def add(self, counts: Mapping[str, int], first: Mapping[str, tuple[str, str]], answers: int) -> None:
        """Counts further rows; the first examples stay."""
        self.answers += answers
        self.kinds.update(counts)
        self.first = {**first, **self.first}

    def what(self) -> str:
        """How many rows are errors and of what kind, the commonest first, with its first row."""
        commonest = self.kinds.most_common()
        named = ", ".join(f"{count} {kind}" for kind, count in commonest[:_MOST_KINDS])
        more = sum(count for _, count in commonest[_MOST_KINDS:])
        document_id, reason = self.first[commonest[0][0]]
        example = " ".join(reason.split())
        if len(example) > _LONGEST_EXAMPLE:
            example = f"{example[: _LONGEST_EXAMPLE - 3]}..."
        others = f", {more} others" if more else ""
        return (
            f"{self.errors} of {self.answers} answers are errors: {named}{others}; the first, {document_id}: {example}"
        )

    def mend(self) -> str:
        """What mends the commonest kind."""
        return mend_of(self.kinds.most_common(1)[0][0])

    def line(self) -> str | None:
        """Both in one line; None where no row is an error."""
        return f"{self.what()} -> {self.mend()}" if self.errors else None
