"""The table of outputs, each an option of `xpoll export` and `xpoll synthesize`. To add one: a file and a line."""

from collections.abc import Mapping
from pathlib import Path

from xpoll.core.outputs import argilla, autotrain, datasets_folder, label_studio, openai_messages
from xpoll.core.outputs.output import Output, TextSet, WrittenOutput, check_takes

OUTPUTS: dict[str, Output] = {
    "datasets": Output(
        "a folder that datasets.load_dataset and the Hugging Face hub take, with a data card",
        "FOLDER",
        datasets_folder.write,
        frozenset({"label", "labels", "spans", "nothing"}),
    ),
    "openai": Output(
        "chat messages for OpenAI's fine-tuning",
        "FILE.jsonl",
        openai_messages.write,
        frozenset({"label", "labels", "spans", "nothing"}),
    ),
    "autotrain": Output(
        "a CSV file with the columns of AutoTrain's text tasks",
        "FILE.csv",
        autotrain.write,
        frozenset({"label", "spans", "nothing"}),
    ),
    "labelstudio": Output(
        "tasks for Label Studio with the labels as predictions, and beside them its labelling interface",
        "FILE.json",
        label_studio.write,
        frozenset({"label", "labels", "spans"}),
    ),
    "argilla": Output(
        "a folder that argilla.Dataset.from_disk takes, with the labels as suggestions",
        "FOLDER",
        argilla.write,
        frozenset({"label", "labels", "spans"}),
    ),
}
"""Option to form."""


def write_outputs(texts: TextSet, wanted: Mapping[str, Path]) -> dict[str, WrittenOutput]:
    """Writes texts in other tools' forms.

    Args:
        texts: What is written.
        wanted: Name of each form to its file or folder.

    Raises:
        ConfigError: a form has no place for such texts; nothing is written then.
        UserError: an output cannot be written.
    """
    for name in wanted:
        check_takes(name, OUTPUTS[name], texts, OUTPUTS)
    return {name: OUTPUTS[name].write(texts, path) for name, path in wanted.items()}
