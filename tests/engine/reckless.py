"""A backend of a user's own, as `engine.backend = "module:Class"` names it: it gives vLLM what kills it."""

from engine.backends.vllm import VllmBackend


class RecklessBackend(VllmBackend):
    """Lets a prompt's own seed through, which xpoll otherwise refuses on a CPU."""

    seed_is_safe = True
