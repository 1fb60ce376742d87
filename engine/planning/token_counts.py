"""The tokens of prompts as the engine will see them, counted without loading a model.

Reads tokenizer.json and the chat template of a model that is on this machine. Without them four
characters stand for a token.
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

from jinja2.sandbox import ImmutableSandboxedEnvironment

from xpoll.core.models import model_file
from xpoll.core.records import Prompt
from xpoll.engine.planning.prefix import Tokens

CHARACTERS_PER_TOKEN = 4

CountedBy = Literal["tokenizer", "characters"]


def tokens_of(prompts: Sequence[Prompt], model: str) -> tuple[list[Tokens], CountedBy]:
    """The token ids of prompts, and what they were counted by.

    Args:
        prompts: Chat prompts.
        model: `engine.model`.
    """
    template = _ChatTemplate(model)
    texts = [template.render(prompt) for prompt in prompts]
    tokenizer_file = model_file(model, "tokenizer.json")
    if tokenizer_file is None:
        size = CHARACTERS_PER_TOKEN
        return [[text[i : i + size] for i in range(0, len(text), size)] for text in texts], "characters"
    encodings = _tokenizer(str(tokenizer_file)).encode_batch(texts, add_special_tokens=False)
    return [encoding.ids for encoding in encodings], "tokenizer"


@lru_cache(maxsize=1)
def _tokenizer(path: str) -> Any:
    """Reading it takes as long as counting some hundred prompts, and a plan counts those of several orders."""
    from tokenizers import Tokenizer

    return Tokenizer.from_file(path)


class _ChatTemplate:
    """The model's own where it is here and can be rendered; else marks of usual length around each message."""

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
            except Exception:  # the template uses what Transformers adds to Jinja
                return

    def render(self, prompt: Prompt) -> str:
        if self._template is not None:
            kwargs = json.loads(prompt.sampling.more or "{}").get("chat_template_kwargs", {})
            try:
                return self._template.render(
                    {"messages": list(prompt.messages), "add_generation_prompt": True, **self._tokens, **kwargs}
                )
            except Exception:  # e.g. a model that takes no system message raises an error of its own making
                self._template = None
        marked = "".join(f"<|{message['role']}|>\n{message['content']}\n" for message in prompt.messages)
        return f"{marked}<|assistant|>\n"
