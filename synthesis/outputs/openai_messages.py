"""JSONL of chat messages, as OpenAI's fine-tuning and TRL's SFTTrainer take it.

A prompt with its reply is a turn each; a labelled text is a turn whose answer is the label.
"""

import json
from pathlib import Path

from xpoll.core.files import replacing
from xpoll.synthesis.outputs.output import KeptTexts, WrittenOutput
from xpoll.synthesis.texts import SynthesizedText


def write(kept: KeptTexts, path: Path) -> WrittenOutput:
    """Writes one JSON object a line: {"messages": [...]}."""
    rows = left_out = 0
    question, labels = kept.config.task.question, ", ".join(kept.config.task.labels)
    system = f"{question} Answer with one of: {labels}."
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for text in kept.texts():
            messages = messages_of(text, system)
            if messages is None:
                left_out += 1
                continue
            file.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")
            rows += 1
    return WrittenOutput(path, rows, left_out)


def messages_of(text: SynthesizedText, system: str) -> list[dict[str, str]] | None:
    """The turns of a row; None where it has neither a reply nor a label.

    Args:
        text: The row.
        system: The question that a label answers.
    """
    if text.prompt is not None and text.completion is not None:
        asked, answer, before = text.prompt, text.completion, []
    elif text.label is not None:
        asked, answer, before = text.text, text.label, [{"role": "system", "content": system}]
    else:
        return None
    return [*before, {"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
