"""From rows to token ids by the model's chat template, and which of them are learned. Nothing here imports torch."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from xpoll.core.control_tokens import without_control_tokens
from xpoll.core.packaged_models import PLAIN_TEMPLATE
from xpoll.core.records import Message
from xpoll.student.causal_lm.examples import TrainingExample


class Tokens(NamedTuple):
    """One row as a model reads it.

    Attributes:
        ids: Token ids of prompt and completion.
        start: Number of the first one of the completion.
        cut: Whether the completion was cut at the end.
    """

    ids: list[int]
    start: int
    cut: bool

    @property
    def labels(self) -> list[int]:
        """The ids, with -100 in place of those that are not learned."""
        return [*[-100] * self.start, *self.ids[self.start :]]

    @property
    def learned(self) -> int:
        """Number of tokens that are predicted: the first of all has nothing before it."""
        return len(self.ids) - max(self.start, 1)


class Encoded(NamedTuple):
    """Rows as a model reads them, and those that it cannot read.

    Attributes:
        rows: Number of the row among those given, and its tokens.
        left_out: Why rows were left out, one reason each.
    """

    rows: list[tuple[int, Tokens]]
    left_out: list[str]

    @property
    def tokens(self) -> list[Tokens]:
        """The tokens of the rows."""
        return [tokens for _, tokens in self.rows]


def give_template(tokenizer: Any) -> None:
    """Gives the tokenizer of a base model a chat template, so that training and serving write the same prompts."""
    if not tokenizer.chat_template:
        tokenizer.chat_template = PLAIN_TEMPLATE


def encode(tokenizer: Any, examples: Sequence[TrainingExample], *, max_length: int) -> Encoded:
    """The rows as token ids.

    Args:
        tokenizer: With a chat template.
        examples: Rows without a problem.
        max_length: Most tokens of a row; the end of a completion that is longer is cut, and a row whose prompt alone
            is as long is left out.
    """
    rows: list[tuple[int, Tokens]] = []
    left_out: list[str] = []
    for number, example in enumerate(examples):
        found = _encoded(tokenizer, example, max_length)
        if isinstance(found, str):
            left_out.append(f"row {example.example_id!r}: {found}")
        else:
            rows.append((number, found))
    return Encoded(rows, left_out)


def prompt_text(tokenizer: Any, example: TrainingExample) -> str:
    """What the model is to continue.

    Raises:
        Exception: the model's template refuses such messages.
    """
    text: str = tokenizer.apply_chat_template(_as_data(tokenizer, example), tokenize=False, add_generation_prompt=True)
    return text


def _as_data(tokenizer: Any, example: TrainingExample) -> list[Message]:
    """The messages before the completion, without control tokens that a row's text brings along."""
    control = _control_tokens(tokenizer)
    return [
        {"role": each["role"], "content": without_control_tokens(each["content"], control)} for each in example.messages
    ]


def _control_tokens(tokenizer: Any) -> list[str]:
    added = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
    return list(dict.fromkeys([*tokenizer.all_special_tokens, *added]))


def _encoded(tokenizer: Any, example: TrainingExample, max_length: int) -> Tokens | str:
    content = without_control_tokens(example.completion, _control_tokens(tokenizer))
    if example.prompt is None:
        ids = [*tokenizer(content)["input_ids"], tokenizer.eos_token_id]
        return Tokens(ids[:max_length], 0, len(ids) > max_length)
    try:
        prompt = prompt_text(tokenizer, example)
        whole = [*_as_data(tokenizer, example), {"role": "assistant", "content": content}]
        text: str = tokenizer.apply_chat_template(whole, tokenize=False)
    except Exception as error:  # templates raise errors of their own, e.g. where a model knows no system message
        return f"the model's chat template refuses it: {' '.join(str(error).split())}"
    completion = text.removeprefix(prompt) if text.startswith(prompt) else content
    asked = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    answer = tokenizer(_ended(completion, content, tokenizer.eos_token), add_special_tokens=False)
    if len(asked) >= max_length:
        return f"its prompt has {len(asked)} tokens, which leaves none of student.max_length = {max_length}"
    ids = [*asked, *answer["input_ids"]]
    return Tokens(ids[:max_length], len(asked), len(ids) > max_length)


def _ended(text: str, content: str, eos: str) -> str:
    """The completion up to the token that ends it: what a template writes behind that is never generated."""
    if eos in text:
        return text[: text.rindex(eos) + len(eos)]
    ended = text.rstrip()
    return ended if ended != content.rstrip() else ended + eos
