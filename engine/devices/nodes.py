"""Finds the devices of all nodes of a Ray cluster, by a task on each node."""

import socket
from dataclasses import replace

from xpoll.core.config.job import EngineConfig
from xpoll.core.errors import EngineError
from xpoll.engine.backends.registry import device_kind
from xpoll.engine.devices.affinity import Hierarchy
from xpoll.engine.devices.find import Device, find_devices

ANSWER_S = 120.0  # a node that has never run xpoll imports its packages from a shared file system first


def cluster_devices(config: EngineConfig) -> list[Device]:
    """The devices to start engines on, one engine each, node by node. Ray must be connected.

    `engine.replicas` counts over all nodes. With `engine.device = "auto"`, nodes without a GPU are left out
    where any node has one.

    Raises:
        EngineError: a node cannot run xpoll, or there are fewer devices than asked for.
    """
    import ray

    nodes = sorted((node for node in ray.nodes() if node["Alive"]), key=lambda node: node["NodeManagerAddress"])
    kind = device_kind(config)
    per_node = -(-config.replicas // len(nodes)) if kind in ("auto", "cpu") else 0
    search = (kind, per_node, config.tensor_parallel, config.device_hierarchy)
    asked = {_ask(node["NodeID"], *search): node["NodeID"] for node in nodes}
    _, late = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_S)
    if late:
        raise EngineError(
            f"{len(late)} of {len(asked)} Ray nodes did not answer within {ANSWER_S:g} s", mend="ray status"
        )
    found: list[Device] = []
    for call in asked:  # in the order of the nodes
        host, devices = _outcome(call)
        found += [replace(device, node=asked[call], host=host) for device in devices]
    if kind == "auto" and any(device.kind != "cpu" for device in found):
        found = [device for device in found if device.kind != "cpu"]
    if len(found) < max(config.replicas, 1):
        raise EngineError(
            f"engine.device = {kind!r}: {max(config.replicas, 1)} needed, {len(found)} found on {len(nodes)} Ray nodes",
            mend="run xpoll doctor on the nodes",
        )
    return found[: config.replicas] if config.replicas else found


def _ask(node_id: str, kind: str, replicas: int, parallel: int, hierarchy: Hierarchy) -> object:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(devices_of_this_node).options(
        num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False)
    )
    return task.remote(kind, replicas, parallel, hierarchy)


def devices_of_this_node(kind: str, replicas: int, parallel: int, hierarchy: Hierarchy) -> tuple[str, list[Device]]:
    """Host name and devices of this node; no devices where it has too few, since other nodes may have enough.

    Args:
        kind: As `find_devices`.
        replicas: As `find_devices`.
        parallel: As `find_devices`.
        hierarchy: As `find_devices`.
    """
    try:
        return socket.gethostname(), find_devices(kind, replicas, parallel=parallel, hierarchy=hierarchy)
    except EngineError:
        return socket.gethostname(), []


def _outcome(call: object) -> tuple[str, list[Device]]:
    import ray

    try:
        outcome: tuple[str, list[Device]] = ray.get(call)
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1]
        raise EngineError(
            f"a Ray node cannot run xpoll: {reason}", mend="install the same xpoll and Python on every node"
        ) from error
    return outcome
