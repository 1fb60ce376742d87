"""Chat messages as the token ids that a model reads: its chat template, with control tokens taken out of the data."""

import json
import re
from collections.abc import Sequence
from typing import Any

from xpoll.core.control_tokens import messages_without_control_tokens
from xpoll.core.errors import EngineError
from xpoll.core.records import Message, Prompt
from xpoll.engine.backends.openai.chat_api import fold_system
from xpoll.engine.backends.vllm.encoding import encoder_of


class ChatEncoder:
    """Renders and tokenises the prompts of one model.

    Attributes:
        tokenizer: The model's tokenizer.
        control: Its control tokens, sorted.
        encode: From a text to its token ids, without added special tokens.

    Args:
        tokenizer: A tokenizer of Transformers.
        model: `engine.model`, for the error.

    Raises:
        EngineError: the model has no chat template.
    """

    def __init__(self, tokenizer: Any, model: str) -> None:
        if not getattr(tokenizer, "chat_template", None):
            raise EngineError(f"{model} has no chat template", mend="use a model made for chat (instruct)")
        self.tokenizer = tokenizer
        self.control = control_tokens_of(tokenizer)
        self.encode = encoder_of(tokenizer)
        self._marks = re.compile("|".join(map(re.escape, self.control)) or "(?!)")
        self._fold_system = not _takes_system(tokenizer)

    def rendered(self, prompt: Prompt, messages: Sequence[Message]) -> str:
        """The text that the model reads.

        Args:
            prompt: Says what the template is told beside the messages.
            messages: Those of the prompt, or of one of its wordings.
        """
        text: str = self.tokenizer.apply_chat_template(
            messages_without_control_tokens(fold_system(messages) if self._fold_system else messages, self.control),
            add_generation_prompt=True,
            tokenize=False,
            **more_of(prompt).get("chat_template_kwargs", {}),
        )
        return text

    def tail(self, rendered: str) -> str:
        """What stands before the answer, back to the last control token of the chat template."""
        return rendered[max((found.end() for found in self._marks.finditer(rendered)), default=0) :]

    def check_labels(self, labels: Sequence[str]) -> None:
        """Refuses labels that hold a control token.

        Raises:
            ValueError: names the first one.
        """
        for label in labels:
            if any(mark in label for mark in self.control):
                raise ValueError(f"the label {label!r} holds a control token of the model")


def control_tokens_of(tokenizer: Any) -> list[str]:
    """The tokenizer's control tokens, which it recognises anywhere, also inside a text; sorted."""
    added = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
    return sorted({*tokenizer.all_special_tokens, *added})


def more_of(prompt: Prompt) -> dict[str, Any]:
    """The further sampling parameters of a prompt."""
    more: dict[str, Any] = json.loads(prompt.sampling.more or "{}")
    return more


def too_long(prompt_tokens: int, max_tokens: int, context: int) -> str:
    """The message of a prompt that does not fit into the model's context; all sizes in tokens."""
    asked = f"{prompt_tokens} prompt tokens and {max_tokens} for the answer"
    return f"{asked} do not fit into the model's context of {context}"


def _takes_system(tokenizer: Any) -> bool:
    try:
        tokenizer.apply_chat_template(
            [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}], tokenize=False
        )
    except Exception:  # templates raise errors of their own, e.g. "System role not supported"
        return False
    return True
