"""The tokens of prompts as the engine will see them, without loading a model.

Reads tokenizer.json and the chat template of a model on this machine. Without them, four characters count as
one token.
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

from jinja2.sandbox import ImmutableSandboxedEnvironment

from xpoll.core.control_tokens import control_tokens_in
from xpoll.core.errors import ConfigError
from xpoll.core.models import model_file
from xpoll.core.records import Prompt
from xpoll.engine.backends.label_tree import LabelTree, SameTokensError
from xpoll.engine.planning.prefix import Tokens

CHARACTERS_PER_TOKEN = 4

NO_TOKEN = -1
"""Stands for the token that ends an answer, which tokenizer.json does not name."""

CountedBy = Literal["tokenizer", "characters"]


def tokens_of(prompts: Sequence[Prompt], model: str) -> tuple[list[Tokens], CountedBy]:
    """The tokens of each prompt, and how they were counted.

    Args:
        prompts: Chat prompts.
        model: `engine.model`.

    Returns:
        Per prompt a sequence of token ids, or of four-character pieces; and "tokenizer" or "characters".
    """
    template = _ChatTemplate(model)
    texts = [template.render(prompt) for prompt in prompts]
    tokenizer_file = model_file(model, "tokenizer.json")
    if tokenizer_file is None:
        size = CHARACTERS_PER_TOKEN
        return [[text[i : i + size] for i in range(0, len(text), size)] for text in texts], "characters"
    encodings = _tokenizer(str(tokenizer_file)).encode_batch(texts, add_special_tokens=False)
    return [encoding.ids for encoding in encodings], "tokenizer"


def tree_of_labels(labels: Sequence[str], model: str) -> LabelTree | None:
    """The tokens that a read walks down; None where the model's tokenizer is not on this machine.

    Args:
        labels: The labels.
        model: `engine.model`.

    Raises:
        ConfigError: a read cannot tell the labels apart: one has no token or holds a control token, or two have the
            same tokens.
    """
    tokenizer_file = model_file(model, "tokenizer.json")
    if tokenizer_file is None:
        return None
    tokenizer = _tokenizer(str(tokenizer_file))
    tokens = [tokenizer.encode(label, add_special_tokens=False).ids for label in labels]
    control = control_tokens_in(tokenizer_file)
    try:
        if marked := [
            f"{label!r} holds {mark!r}, a control token" for label in labels for mark in control if mark in label
        ]:
            raise SameTokensError(marked[0])
        return LabelTree(tokens, end=NO_TOKEN, names=labels)
    except SameTokensError as error:
        raise ConfigError(
            f'task.labels: panel.answer = "read" cannot tell labels of {model} apart: {error}',
            mend="rename a label, or --set panel.answer=label",
        ) from error


def check_room(prompt: Prompt, model: str) -> None:
    """Refuses a longest answer that a bare label does not fit into; one that is cut off could never be voted.

    Args:
        prompt: Any prompt of the job.
        model: `engine.model`; nothing is known where its tokenizer is not on this machine.

    Raises:
        ConfigError: a label has more tokens than the answer may have.
    """
    answer, room = prompt.answer, prompt.sampling.max_tokens
    tokenizer_file = model_file(model, "tokenizer.json")
    if tokenizer_file is None or room is None or answer.read or answer.json_schema is not None:
        return
    tokenizer = _tokenizer(str(tokenizer_file))
    lengths = [len(tokenizer.encode(label, add_special_tokens=False).ids) for label in answer.choices]
    if lengths and max(lengths) > room:
        label = answer.choices[lengths.index(max(lengths))]
        raise ConfigError(
            f"panel.max_tokens = {room} is too short for the label {label!r} of {max(lengths)} tokens of {model}",
            mend=f"leave it out, or --set panel.max_tokens={max(lengths) + 1}",
        )


@lru_cache(maxsize=1)
def _tokenizer(path: str) -> Any:
    """Cached, because reading it takes as long as counting hundreds of prompts, and a plan counts several orders."""
    from tokenizers import Tokenizer

    return Tokenizer.from_file(path)


class _ChatTemplate:
    """The model's chat template if it is on this machine and renders; otherwise marks of usual length per message."""

    def __init__(self, model: str) -> None:
        self._template = None
        config_file, template_file = (
            model_file(model, "tokenizer_config.json"),
            model_file(model, "chat_template.jinja"),
        )
        config: dict[str, Any] = json.loads(config_file.read_text(encoding="utf-8")) if config_file else {}
        source = template_file.read_text(encoding="utf-8") if template_file else config.get("chat_template")
        self._tokens = {name: value for name, value in config.items() if name in ("bos_token", "eos_token")}
        if isinstance(source, str):
            environment = ImmutableSandboxedEnvironment(
                trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
            )
            try:
                self._template = environment.from_string(source)
            except Exception:  # the template uses an extension of Transformers
                return

    def render(self, prompt: Prompt) -> str:
        if self._template is not None:
            kwargs = json.loads(prompt.sampling.more or "{}").get("chat_template_kwargs", {})
            try:
                return self._template.render(
                    {"messages": list(prompt.messages), "add_generation_prompt": True, **self._tokens, **kwargs}
                )
            except Exception:  # e.g. a template that refuses system messages raises an error of its own
                self._template = None
        marked = "".join(f"<|{message['role']}|>\n{message['content']}\n" for message in prompt.messages)
        return f"{marked}<|assistant|>\n"
