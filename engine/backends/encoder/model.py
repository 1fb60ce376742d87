"""An encoder's model and tokenizer, and which kind of scores it is made for. Imports torch when a model is loaded."""

import json
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from xpoll.core.errors import ConfigError, ModelError
from xpoll.core.models import resolve_model
from xpoll.engine.backends.encoder.options import EncoderOptions, Scoring
from xpoll.engine.devices.find import Device

POOLING_MODES = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "last",
}


class TextEncoder(NamedTuple):
    """A loaded model.

    Attributes:
        tokenizer: Its tokenizer.
        model: In eval mode, on `device`.
        device: The torch device.
        scoring: What it is used for.
        longest: Most tokens of an input.
        pooling: "mean", "cls" or "last"; read for similarity only.
        entailment: Number of the class "entailment"; read for entailment only.
    """

    tokenizer: Any
    model: Any
    device: Any
    scoring: Scoring
    longest: int
    pooling: str
    entailment: int


def load_text_encoder(name: str, options: EncoderOptions, device: Device) -> TextEncoder:
    """Loads `engine.model` in fp32 onto the device that this process is pinned to.

    Raises:
        ModelError: it cannot be found or loaded, or is no encoder.
        ConfigError: it is not made for `engine.encoder.scoring`, reads fewer tokens than `max_length`, or PyTorch does
            not reach the device.
    """
    folder = resolve_model(name, key="engine.model")
    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with _one_line(name):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    pooling = _stated_pooling(folder)
    scoring = scoring_of(config, options.scoring, name, embeds=pooling is not None)
    entailment = entailment_class(config, name) if scoring == "entailment" else 0
    auto = AutoModel if scoring == "similarity" else AutoModelForSequenceClassification
    with _one_line(name):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        model, loading = auto.from_pretrained(
            folder, dtype=torch.float32, trust_remote_code=False, use_safetensors=True, output_loading_info=True
        )
    # A pooler is not read for similarity, so it may be missing; any other weight would be noise.
    if lacking := [key for key in loading["missing_keys"] if scoring != "similarity" or "pooler" not in key]:
        raise ModelError(
            f"engine.model: {name} holds no weights for {len(lacking)} tensors that {scoring} needs, e.g. {lacking[0]}",
            mend='set engine.encoder.scoring = "similarity", or name a model that was trained for it',
        )
    if tokenizer.pad_token is None:
        raise ModelError(f"engine.model: {name} has no padding token, so it is no encoder", mend="name an encoder")
    place = torch_device(device)
    return TextEncoder(
        tokenizer,
        model.eval().to(place),
        place,
        scoring,
        _longest(folder, tokenizer, config, options, name),
        options.pooling if options.pooling != "auto" else pooling or "mean",
        entailment,
    )


def scoring_of(config: Any, asked: str, name: str, *, embeds: bool) -> Scoring:
    """What a model is used for: what the job asks, or what the model was trained for.

    Args:
        config: The model's own config.
        asked: `engine.encoder.scoring`.
        name: The model, for the error.
        embeds: Whether its folder says how embeddings are pooled.

    Raises:
        ModelError: it generates text, or classifies into labels of its own.
    """
    if asked != "auto":
        return asked  # type: ignore[return-value]  # the options allow no other
    architecture = str((getattr(config, "architectures", None) or [""])[0])
    if architecture.endswith("ForSequenceClassification"):
        if config.num_labels == 1:
            return "rerank"
        if _entailment_classes(config.id2label):
            return "entailment"
        raise ModelError(
            f"engine.model: {name} classifies into {', '.join(map(str, config.id2label.values()))}, none of them "
            "'entailment'",
            mend="name a model of sentence embeddings, entailment or reranking, or set engine.encoder.scoring",
        )
    if not embeds and (architecture.endswith(("ForCausalLM", "ForConditionalGeneration", "LMHeadModel"))):
        raise ModelError(f"engine.model: {name} generates text and is no encoder", mend='engine.backend = "vllm"')
    return "similarity"


def _entailment_classes(names: Mapping[int, str]) -> list[int]:
    return [number for number, name in names.items() if str(name).lower().startswith("entail")]


def entailment_class(config: Any, name: str) -> int:
    """The number of the class "entailment".

    Raises:
        ConfigError: the model's config names no such class, or several.
    """
    found = _entailment_classes(config.id2label)
    if len(found) != 1:
        raise ConfigError(
            f"engine.encoder.scoring: {name} names its classes {', '.join(map(str, config.id2label.values()))}: which "
            "one is entailment is not known",
            mend="correct id2label in the model's config.json",
        )
    return found[0]


def torch_device(device: Device) -> Any:
    """The torch device of an engine's device: the process sees only that one, whatever its number.

    Raises:
        ConfigError: the installed PyTorch does not reach it.
    """
    import torch

    if device.parallel > 1:
        raise ConfigError(
            f"engine.tensor_parallel = {device.parallel}: an encoder computes on one device",
            mend="--set engine.tensor_parallel=1",
        )
    if device.kind == "cpu":
        return torch.device("cpu")
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if found is None or found.type != device.kind:
        raise ConfigError(
            f"engine.device: PyTorch {torch.__version__} does not reach {device}", mend="--set engine.device=cpu"
        )
    return torch.device(device.kind, 0)


def _longest(folder: str, tokenizer: Any, config: Any, options: EncoderOptions, name: str) -> int:
    """Most tokens of an input: the job's, or what the model was made for."""
    positions = getattr(config, "max_position_embeddings", None)
    # RoBERTa counts positions from behind the padding index, so 514 of them read 512 tokens.
    offset = config.pad_token_id + 1 if getattr(config, "model_type", "") in ("roberta", "xlm-roberta") else 0
    limits = [int(tokenizer.model_max_length)] + ([positions - offset] if positions else [])
    if options.max_length is None:
        stated = _json(folder, "sentence_bert_config.json").get("max_seq_length")
        return int(min([*limits, *([stated] if isinstance(stated, int) else [])]))
    if options.max_length > min(limits):
        raise ConfigError(
            f"engine.encoder.max_length is {options.max_length}, and {name} reads at most {min(limits)} tokens",
            mend=f"--set engine.encoder.max_length={min(limits)}",
        )
    return options.max_length


def _stated_pooling(folder: str) -> str | None:
    """What the folder of a sentence encoder says of its pooling; None where it says nothing that is known here."""
    stated = _json(folder, "1_Pooling/config.json")
    return next((name for key, name in POOLING_MODES.items() if stated.get(key)), None)


def _json(folder: str, file: str) -> dict[str, Any]:
    """A JSON file of a model, local or on the hub; empty where there is none."""
    from transformers.utils import cached_file

    found = cached_file(
        folder, file, _raise_exceptions_for_missing_entries=False, _raise_exceptions_for_connection_errors=False
    )
    held = json.loads(Path(found).read_text(encoding="utf-8")) if found else {}
    return held if isinstance(held, dict) else {}


@contextmanager
def _one_line(name: str) -> Any:
    """Transformers raises a different type for each kind of broken folder; here all of them are one line."""
    try:
        yield
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"engine.model: {name} cannot be loaded: {reason}", mend="name an encoder") from error
