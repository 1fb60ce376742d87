"""The [student] section: which model is fine-tuned, how, and on what."""

from typing import Annotated, Any, Literal

from pydantic import Field

from xpoll.core.config.task import Section


class StudentConfig(Section):
    """[student]: which model is fine-tuned, how, and on what."""

    kind: Literal["classifier", "causal-lm"] = "classifier"
    """`classifier`: an encoder that learns the voted labels. `causal-lm`: a language model that learns to write the
    completions that the rows of `documents.path` have; such a job polls no panel. See
    docs/howto/generative-student.md."""
    encoder: str = "all-minilm-l6-v2"
    """Packaged model, folder, or Hugging Face name of the encoder to fine-tune, e.g. FacebookAI/roberta-base."""
    model: str = "smollm2-135m-instruct"
    """Of a `causal-lm`: packaged model, folder, or Hugging Face name of the language model to fine-tune."""
    lora: dict[str, Any] = {}
    """Of a `causal-lm`: passed to peft.LoraConfig verbatim, e.g. {r = 32, target_modules = ["q_proj", "v_proj"]}; wins
    over what the recipe sets."""
    recipe: str = "plain"
    """What is done beside plain training: `plain` nothing, `robust` leaves out votes that students of other texts
    contradict, `ensemble` also trains the student on the mean answers of four others; or the path of a TOML file of
    the same form. See docs/howto/student.md. A `causal-lm` has recipes of its own, `plain` and `packed`."""
    soft_labels: bool = True
    """Train on the voted distribution instead of the voted label alone."""
    epochs: Annotated[float, Field(gt=0)] = 3
    """Passes over the voted texts."""
    min_steps: Annotated[int, Field(ge=0)] = 150
    """Train at least this many steps, in more passes if need be: a hundred texts give too few in three."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    """Peak learning rate; warms up over the first tenth of the steps and decays linearly."""
    batch_size: Annotated[int, Field(ge=1)] = 16
    """Texts per training step and device."""
    frozen: Annotated[int, Field(ge=0)] = 0
    """Parts of the encoder that keep their weights, from below: 1 the embeddings, 2 also the first layer, ...
    What they make of a text is computed once, so that a step costs the upper layers alone."""
    held_out: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    """Share of the voted texts that is kept out of training: their votes say how sure the student is, and stop the
    training after two passes without a better loss. None are kept out where that would be fewer than 30 texts."""
    seeds: Annotated[int, Field(ge=1)] = 1
    """How many students to train that differ in their seed alone. The first one is the student; the others show the
    spread."""
    learning_curve: list[Annotated[float, Field(gt=0, lt=1)]] = []
    """Shares of the voted texts that further students are trained on, e.g. [0.25, 0.5]: the report then says what
    more texts would bring. Needs held-out texts."""
    wanted_accuracy: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """Accuracy on the gold rows from which on `evaluate` says "ship"."""
    backend: Literal["auto", "native", "ipex"] = "auto"
    """`native` is PyTorch's own training; `ipex` is Intel's extension, in an environment that `make ipex` builds;
    `auto` takes native, because the extension ended at torch 2.8."""
    ipex_python: str = ".venv-ipex/bin/python"
    """Python of the environment that holds intel-extension-for-pytorch."""
    devices: Annotated[int, Field(ge=0)] = 1
    """Devices to train on, each with its own batch; 0 takes all accelerators."""
    max_length: Annotated[int, Field(ge=8)] = 256
    """Longest text in tokens; longer ones are cut at the end."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """`auto` takes bf16 autocast where the processor computes bf16 in hardware."""
    trainer: dict[str, Any] = {}
    """Passed to transformers.TrainingArguments verbatim, of a `causal-lm` to trl.SFTConfig, e.g.
    {gradient_accumulation_steps = 4, weight_decay = 0.1, report_to = "tensorboard"}; names that xpoll sets itself are
    refused. Native training only."""

    @property
    def is_generative(self) -> bool:
        """Whether the student writes completions, not labels."""
        return self.kind == "causal-lm"


OF_CLASSIFIERS = (
    "encoder",
    "soft_labels",
    "frozen",
    "learning_curve",
    "wanted_accuracy",
    "backend",
    "ipex_python",
)
"""Keys of [student] that a `causal-lm` does not read, so that they have their defaults there."""
