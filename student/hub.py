"""Uploads a student, or a data set, to the Hugging Face hub. Nothing here imports torch."""

import os
from pathlib import Path
from typing import Literal

from xpoll.core.errors import ConfigError, ModelError


def require_token() -> None:
    """Finds out before any work whether there is a token to upload with.

    Raises:
        ConfigError: there is none.
    """
    if not os.environ.get("HF_TOKEN"):
        raise ConfigError("--push-to-hub needs a token", mend="set HF_TOKEN in the environment")


def push(folder: Path, name: str, *, kind: Literal["model", "dataset"] = "model") -> str:
    """Uploads a folder, of a student without those of other seeds; returns its address.

    Args:
        folder: Of a student or a data set.
        name: USER/NAME of the repository, which is made unless it is there.
        kind: What the folder is.

    Raises:
        ConfigError: there is no token.
        ModelError: the hub refuses it or does not answer.
    """
    require_token()
    from huggingface_hub import HfApi

    hub = HfApi()
    try:
        hub.create_repo(name, repo_type=kind, exist_ok=True)
        uploaded = hub.upload_folder(repo_id=name, repo_type=kind, folder_path=folder, ignore_patterns=["seeds/*"])
    except Exception as error:  # the hub's HTTP client has errors of its own, which differ between its versions
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"{folder} cannot be uploaded to {name}: {reason}", mend="check the name and HF_TOKEN"
        ) from error
    return str(uploaded)
