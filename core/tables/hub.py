"""Data sets on the Hugging Face hub as a file system, each read at one commit.

    hf://datasets/OWNER/NAME                       a folder, as any other (core/tables/folders.py)
    hf://datasets/OWNER/NAME/data/train-*.parquet  files of it
    hf://datasets/OWNER/NAME@COMMIT/...            at a commit, a tag or a branch; refs/convert/parquet is one

Files are streamed and nothing of them is kept on disk. What is not named by a commit is read at that of the moment, in
all calls of a process, and a line says which one that is. HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE count as they do for
huggingface_hub.
"""

import re
import sys
from functools import cache
from typing import NamedTuple
from urllib.parse import quote, unquote

from pyarrow import fs

from xpoll.core.errors import InputError, UnavailableError, UserError
from xpoll.core.progress import say

PREFIX = "hf://"
TIMEOUT_S = 20.0
"""How long the hub may take to name the commit."""
_PLACE = re.compile(
    r"datasets/(?P<owner>[^/@]+)/(?P<name>[^/@]+)(@(?P<revision>refs/(convert|pr)/[^/]+|[^/]+))?(/(?P<inside>.*))?"
)
_COMMIT = re.compile("[0-9a-f]{40}")


class _Place(NamedTuple):
    repository: str
    revision: str | None
    inside: str


def hub_files(path: str, *, key: str) -> tuple[fs.FileSystem, str]:
    """The hub as a file system, and the path in it, at one commit.

    Args:
        path: A path that begins with `hf://`.
        key: Config key or argument that named the path, for errors.

    Raises:
        InputError: it names no data set, or one that is not there or needs a token.
        UnavailableError: the hub does not answer, or is not to be asked.
    """
    found = _PLACE.fullmatch(path.removeprefix(PREFIX))
    if found is None:
        raise InputError(f"{key}: {path} names no data set", mend=f"set {key} to hf://datasets/OWNER/NAME/FILE")
    revision = None if found["revision"] is None else unquote(found["revision"])
    place = _Place(f"{found['owner']}/{found['name']}", revision, found["inside"] or "")
    commit = revision if revision and _COMMIT.fullmatch(revision) else _commit_now(place, path, key)
    from huggingface_hub import HfFileSystem

    whole = "/".join(filter(None, (f"datasets/{place.repository}@{commit}", place.inside)))
    return fs.PyFileSystem(fs.FSSpecHandler(HfFileSystem(expand_info=False))), whole.rstrip("/")


def _commit_now(place: _Place, path: str, key: str) -> str:
    try:
        commit = _commit_of(place.repository, place.revision)
    except Exception as error:  # the hub's HTTP client has errors of its own, which differ between its versions
        raise _explained(error, place, path, key) from error
    pinned = "/".join(filter(None, (f"{PREFIX}datasets/{place.repository}@{commit}", place.inside)))
    _say_once(f"{key}: reads {path} at its newest commit over the network; to read the same again: {pinned}")
    return commit


@cache
def _say_once(line: str) -> None:
    say(line)


@cache
def _commit_of(repository: str, revision: str | None) -> str:
    from huggingface_hub import HfApi

    found = HfApi().repo_info(repository, repo_type="dataset", revision=revision, timeout=TIMEOUT_S)
    return str(found.sha)


def _explained(error: Exception, place: _Place, path: str, key: str) -> UserError:
    from huggingface_hub import constants, errors

    local = f"hf download {place.repository} --repo-type dataset --local-dir texts, where there is a network"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return UnavailableError(
            f"{key}: {path} is not read, because HF_HUB_OFFLINE is set", mend=f"unset it, or: {local}"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return InputError(f"{key}: {path}: there is no revision {place.revision}", mend="name a branch, tag or commit")
    if isinstance(error, errors.RepositoryNotFoundError | errors.HFValidationError):  # a gated one is among these
        return InputError(
            f"{key}: {path}: there is no data set {place.repository}, or it needs a token",
            mend="check its name; where it is gated or private set HF_TOKEN",
        )
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return UnavailableError(
        f"{key}: {path} cannot be read: {constants.ENDPOINT} does not answer ({reason[:160]})",
        mend=f"check the network, HF_ENDPOINT and proxies; or: {local}",
    )


def quoted_uri(path: str) -> str:
    """A path as it was typed, as a URI: that has no spaces and no umlauts, and what follows a # would be lost."""
    return quote(path, safe=":/?=&%@+,;!$'()*[]~")


def network_errors() -> tuple[type[Exception], ...]:
    """What reading a file of the hub can raise beside OSError, if one was read."""
    httpx = sys.modules.get("httpx")
    return () if httpx is None else (httpx.HTTPError,)
