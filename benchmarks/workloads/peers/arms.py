"""Peers and their arms, found by the folders of benchmarks/peers."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from xpoll.core.config.file import nearest
from xpoll.core.errors import ConfigError

PEERS = Path(__file__).resolve().parents[2] / "peers"
COMMON = PEERS / "common"
SHAPES = ("reasons", "label3", "label77")
_KEYS = {"about", "package", "endpoint", "arms", "script"}
_ARM_KEYS = {"about", "same_work", "answers", "shapes", "options"}


class Peer(NamedTuple):
    """What a user could pick.

    Attributes:
        name: That of its folder.
        about: What it is.
        package: Distribution whose version a record has.
        endpoint: Whether it asks an endpoint; else it computes itself.
        script: What does the job.
        requirements: Complete pinned set of its environment; None where it runs in xpoll's own.
    """

    name: str
    about: str
    package: str
    endpoint: bool
    script: Path
    requirements: Path | None


class Arm(NamedTuple):
    """One way to run a peer.

    Attributes:
        peer: The peer.
        name: Unique, "PEER/ARM".
        about: What is set.
        same_work: Whether it gives every answer to the job's prompts with the job's sampling and constraint.
        answers: Of each text: "all" that the job asks for, "enough" of them for a majority, or "one".
        shapes: Shapes of the job that it can do.
        options: For the script.
    """

    peer: Peer
    name: str
    about: str
    same_work: bool
    answers: Literal["all", "enough", "one"]
    shapes: tuple[str, ...]
    options: dict[str, Any]

    def answers_of(self, samples: int) -> tuple[int, int]:
        """The most and the fewest answers that a text gets of a job that asks for so many."""
        if self.answers == "one":
            return 1, 1
        return samples, samples if self.answers == "all" else samples // 2 + 1


def find_arms(root: Path | None = None) -> list[Arm]:
    """All arms of all peers, sorted by peer, in the order of its file.

    Args:
        root: Folder of the peers; benchmarks/peers unless given.

    Raises:
        ConfigError: a peer.toml has a key that none has.
    """
    return [arm for file in sorted((root or PEERS).glob("*/peer.toml")) for arm in _arms_of(file)]


def chosen_arms(arms: Sequence[Arm], names: Sequence[str]) -> list[Arm]:
    """Arms by the names of arms or peers, in the order of `arms`; all of them where no name is given.

    Raises:
        ConfigError: there is none of a name.
    """
    known = {arm.name for arm in arms} | {arm.peer.name for arm in arms}
    for name in names:
        if name not in known:
            raise ConfigError(f"parameters.arms: there is no {name!r}", mend=nearest(name, sorted(known)))
    return [arm for arm in arms if not names or arm.name in names or arm.peer.name in names]


def _arms_of(file: Path) -> list[Arm]:
    read = tomllib.loads(file.read_text(encoding="utf-8"))
    unknown = [*(read.keys() - _KEYS), *(key for arm in read["arms"].values() for key in arm.keys() - _ARM_KEYS)]
    if unknown:
        raise ConfigError(f"{file}: there is no key {unknown[0]!r}", mend=f"known: {', '.join(_KEYS | _ARM_KEYS)}")
    folder = file.parent
    requirements = folder / "requirements.txt"
    peer = Peer(
        folder.name,
        read["about"],
        read["package"],
        read["endpoint"],
        folder.parent / read.get("script", folder.name) / "run.py",
        requirements if requirements.exists() else None,
    )
    return [
        Arm(
            peer,
            f"{peer.name}/{name}",
            arm["about"],
            arm.get("same_work", True),
            arm.get("answers", "all"),
            tuple(arm.get("shapes", SHAPES)),
            arm.get("options", {}),
        )
        for name, arm in read["arms"].items()
    ]
