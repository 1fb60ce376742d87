"""Loads language models, and merges LoRA weights into them. Imports torch: import it where it is needed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

from xpoll.core.config.student import StudentConfig
from xpoll.core.errors import ConfigError, ModelError
from xpoll.core.machine.device import best_device
from xpoll.core.models import context_length, resolve_model
from xpoll.core.progress import Waiting
from xpoll.student.causal_lm.tokens import give_template
from xpoll.student.training.encoder import quiet


class LanguageModel(NamedTuple):
    """A tokenizer with a chat template, and a causal language model, that belong together."""

    tokenizer: Any
    model: Any


def load_tokenizer(config: StudentConfig) -> Any:
    """The tokenizer of the model that the config names, with a chat template.

    Raises:
        ModelError: the model cannot be found, or its tokenizer not be loaded.
    """
    return _tokenizer(resolve_model(config.model, key="student.model"), f"student.model: {config.model}")


def load_base(config: StudentConfig, *, precision: str) -> LanguageModel:
    """The model that the config names, on the best device, in eval mode.

    Args:
        config: Names the model and the longest row.
        precision: bf16 or fp32, of the weights.

    Raises:
        ModelError: the model cannot be found or loaded.
        ConfigError: student.max_length is more than the model's context.
    """
    folder = resolve_model(config.model, key="student.model")
    longest = context_length(folder)
    if longest is not None and config.max_length > longest:
        raise ConfigError(
            f"student.max_length is {config.max_length}, and {config.model} reads at most {longest} tokens",
            mend=f"--set student.max_length={longest}",
        )
    return load_language_model(folder, name=f"student.model: {config.model}", precision=precision)


def load_language_model(folder: str, *, name: str, precision: str) -> LanguageModel:
    """A model as it was saved, on the best device, in eval mode.

    Args:
        folder: Its folder or hub name.
        name: For errors.
        precision: bf16 or fp32, of the weights.

    Raises:
        ModelError: it cannot be loaded.
    """
    from transformers import AutoModelForCausalLM

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    with Waiting(f"loading {name}", usual_s=10), quiet():
        tokenizer = _tokenizer(folder, name)
        try:
            model = AutoModelForCausalLM.from_pretrained(
                folder, dtype=dtype, trust_remote_code=False, use_safetensors=True
            )
        except Exception as error:  # Transformers raises a different type for each kind of broken folder
            raise _not_loaded(name, error) from error
    return LanguageModel(tokenizer, model.to(best_device()).eval())


def _tokenizer(folder: str, name: str) -> Any:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # as above
        raise _not_loaded(name, error) from error
    if tokenizer.eos_token is None:
        raise ModelError(f"{name} has no token that ends a text", mend="name a causal language model")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    give_template(tokenizer)
    return tokenizer


def _not_loaded(name: str, error: Exception) -> ModelError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return ModelError(
        f"{name} cannot be loaded: {reason}", mend="name a folder or hub model of a causal language model"
    )


@contextmanager
def with_adapter(base: LanguageModel, adapter: Path) -> Iterator[Any]:
    """The base model with LoRA weights added while the block runs; the base is as before then."""
    from peft import PeftModel

    with quiet():
        model = PeftModel.from_pretrained(base.model, adapter, use_safetensors=True, trust_remote_code=False).eval()
    try:
        yield model
    finally:
        model.unload()


def save_merged(config: StudentConfig, adapter: Path, folder: Path) -> None:
    """Writes the model with the LoRA weights added to its own, in the type that the base is saved in.

    The sum is made in fp32 and rounded once.
    """
    from peft import PeftModel

    base = load_base(config, precision="fp32")
    saved_as = _saved_dtype(resolve_model(config.model, key="student.model"))
    with quiet():
        merged = (
            PeftModel.from_pretrained(base.model, adapter, use_safetensors=True, trust_remote_code=False)
            .merge_and_unload()
            .to(saved_as)
        )
        merged.config.use_cache = True
        merged.save_pretrained(folder)
        base.tokenizer.save_pretrained(folder)


def _saved_dtype(folder: str) -> torch.dtype:
    from transformers import AutoConfig

    found = AutoConfig.from_pretrained(folder, trust_remote_code=False).dtype
    return found if isinstance(found, torch.dtype) else torch.float32
