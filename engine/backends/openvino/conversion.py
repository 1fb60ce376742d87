"""Converts a Hugging Face model to OpenVINO's format, once, with what comes from PyPI and no network.

GenAI builds the graph of a model from a GGUF file by itself. So the weights are written as GGUF, GenAI reads that and
saves its own format, and the GGUF file goes again. It knows three architectures so; a folder that optimum-intel has
exported, of any architecture, is taken as it is.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xpoll.core.errors import ModelError
from xpoll.core.machine.environment import package_version
from xpoll.core.packaged_models import cache_folder
from xpoll.engine.backends.openvino.options import Weights
from xpoll.engine.backends.openvino.runner import said_by

MODEL = "openvino_model.xml"
ARCHITECTURES = {"LlamaForCausalLM": "llama", "Qwen2ForCausalLM": "qwen2", "Qwen3ForCausalLM": "qwen3"}
"""Architectures whose GGUF files GenAI reads (gguf_utils/gguf_modeling.cpp), and their names there."""
FORMAT = 1
"""Raised where what this file writes changes."""
EXPORT = "optimum-cli export openvino --model {} --weight-format int8 FOLDER, and set engine.model to FOLDER"


def openvino_folder(source: Path, weights: Weights | None) -> Path:
    """The folder of a model in OpenVINO's format, converted where that was not done yet: 30 s for 135M parameters.

    Args:
        source: Folder of a Hugging Face model, or of one that was exported for OpenVINO.
        weights: Format of the weights; None takes those of an exported folder, and else fp16.

    Raises:
        ModelError: it cannot be converted, or is exported and has a format already.
    """
    if (source / MODEL).exists():
        if weights is not None:
            raise ModelError(
                f"engine.openvino.weights = {weights!r}, but {source} is exported already", mend="leave the key out"
            )
        return source
    folder = cache_folder() / "openvino" / _name(source, weights or "fp16")
    if folder.exists():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(folder):
            if not folder.exists():
                _convert(source, folder, weights or "fp16")
    except OSError as error:
        raise ModelError(f"cannot write {folder}: {error}", mend="set XDG_CACHE_HOME to a folder with room") from error
    return folder


def _name(source: Path, weights: Weights) -> str:
    """Differs wherever the source, its weights or GenAI do."""
    files = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(source.glob("*.safetensors"))]
    about = [str(source), files, FORMAT, package_version("openvino-genai")]
    return f"{source.name}-{weights}-{hashlib.sha256(json.dumps(about).encode()).hexdigest()[:12]}"


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Several workers start at once; the others wait for the first."""
    with folder.with_name(f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _convert(source: Path, folder: Path, weights: Weights) -> None:
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    if why := why_not_converted(config):
        raise ModelError(f"{source.name} cannot be converted for OpenVINO: {why}", mend=EXPORT.format(source))
    for left in folder.parent.glob(f".{folder.name}.*.tmp"):  # of a conversion that was killed; the lock is ours
        shutil.rmtree(left, ignore_errors=True)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    temporary.mkdir()
    try:
        _write_tokenizer(source, temporary)
        gguf = temporary / "model.gguf"
        _write_gguf(source, config, gguf, weights)
        _save_as_openvino(gguf, temporary)
        gguf.unlink()
        for name in ("config.json", "generation_config.json"):
            if (source / name).exists():
                shutil.copyfile(source / name, temporary / name)
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def why_not_converted(config: Mapping[str, Any]) -> str | None:
    """Why GenAI would build no graph of a model, or a wrong one; None where it builds the right one.

    Args:
        config: The model's config.json.
    """
    (architecture, *_) = config.get("architectures") or ["an unnamed architecture"]
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if architecture not in ARCHITECTURES:
        return f"it is {architecture}, and {', '.join(ARCHITECTURES)} can be converted"
    if (kind := rope.get("rope_type", rope.get("type", "default"))) != "default":
        return f"its rotary embedding is of the type {kind}"
    if config.get("hidden_act", "silu") != "silu":
        return f"its activation is {config['hidden_act']}"
    if config.get("use_sliding_window") or "quantization_config" in config:
        return "it has a sliding window or quantised weights"
    return None


def _write_tokenizer(source: Path, folder: Path) -> None:
    import openvino
    from openvino_tokenizers import convert_tokenizer
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    for name, model in zip(
        ("openvino_tokenizer", "openvino_detokenizer"), convert_tokenizer(tokenizer, with_detokenizer=True), strict=True
    ):
        openvino.save_model(model, folder / f"{name}.xml")


def _write_gguf(source: Path, config: Mapping[str, Any], path: Path, weights: Weights) -> None:
    import gguf

    architecture = ARCHITECTURES[config["architectures"][0]]
    heads, layers = config["num_attention_heads"], config["num_hidden_layers"]
    kv_heads = config.get("num_key_value_heads") or heads
    theta = (config.get("rope_parameters") or config).get("rope_theta", 10_000.0)
    writer = gguf.GGUFWriter(str(path), architecture)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(layers)
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_key_length(config.get("head_dim") or config["hidden_size"] // heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(float(theta))
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16 if weights == "fp16" else gguf.LlamaFileType.MOSTLY_Q8_0)
    names = gguf.get_tensor_name_map(_architecture_of(gguf, architecture), layers)
    for name, tensor in _tensors(source):
        if name == "lm_head.weight" and config.get("tie_word_embeddings"):
            continue
        if architecture == "llama" and ".self_attn.q_proj." in name:
            tensor = _interleaved(tensor, heads)
        if architecture == "llama" and ".self_attn.k_proj." in name:
            tensor = _interleaved(tensor, kv_heads)
        found = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if found is None:
            raise ModelError(
                f"{source.name} cannot be converted for OpenVINO: {name} is not known", mend=EXPORT.format(source)
            )
        kind = _quantisation(gguf, name, tensor, weights)
        writer.add_tensor(found, gguf.quants.quantize(tensor, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _architecture_of(gguf: Any, name: str) -> Any:
    return next(number for number, each in gguf.MODEL_ARCH_NAMES.items() if each == name)


def _quantisation(gguf: Any, name: str, tensor: Any, weights: Weights) -> Any:
    """INT4 leaves embeddings and the last layer in INT8, as is usual: they cost the most accuracy."""
    kinds = gguf.GGMLQuantizationType
    if tensor.ndim == 1:
        return kinds.F32
    if weights == "fp16" or tensor.shape[-1] % 32:
        return kinds.F16
    at_the_ends = name in ("model.embed_tokens.weight", "lm_head.weight")
    return kinds.Q4_0 if weights == "int4" and not at_the_ends else kinds.Q8_0


def _tensors(source: Path) -> Iterator[tuple[str, Any]]:
    import torch
    from safetensors import safe_open

    files = sorted(source.glob("*.safetensors"))
    if not files:
        raise ModelError(f"{source} holds no safetensors", mend="save it again: model.save_pretrained(folder)")
    for file in files:
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118
                yield name, opened.get_tensor(name).to(torch.float32).numpy()


def _interleaved(tensor: Any, heads: int) -> Any:
    """Rows in the order of GGUF's Llama, whose rotary embedding turns neighbours and not halves."""
    rows = tensor.shape[0]
    return tensor.reshape(heads, 2, rows // heads // 2, *tensor.shape[1:]).swapaxes(1, 2).reshape(tensor.shape)


def _save_as_openvino(gguf: Path, folder: Path) -> None:
    """Has GenAI read a GGUF file, which saves what it built beside the file."""
    import openvino_genai

    scheduler = openvino_genai.SchedulerConfig()
    scheduler.num_kv_blocks = 1
    tokenizer = openvino_genai.Tokenizer(folder)
    try:
        openvino_genai.ContinuousBatchingPipeline(gguf, tokenizer, scheduler, "CPU", enable_save_ov_model=True)
    except RuntimeError as error:
        raise ModelError(
            f"GenAI does not convert {gguf.parent}: {said_by(error)}", mend=EXPORT.format("MODEL")
        ) from error
