"""The table of outputs, each an option of `xpoll synthesize`. To add one: a file and a line."""

from xpoll.synthesis.outputs import autotrain, datasets_folder, openai_messages
from xpoll.synthesis.outputs.output import Output

OUTPUTS: dict[str, Output] = {
    "datasets": Output(
        "a folder that datasets.load_dataset and the Hugging Face hub take, with a data card",
        "FOLDER",
        datasets_folder.write,
    ),
    "openai": Output("chat messages for OpenAI's fine-tuning", "FILE.jsonl", openai_messages.write),
    "autotrain": Output("a CSV file with the columns of AutoTrain's text tasks", "FILE.csv", autotrain.write),
}
"""Option to form."""
