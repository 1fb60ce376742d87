"""A prefix cache simulated block by block, after vLLM's rules: the oracle of the planner's arithmetic."""

from collections import Counter, OrderedDict, deque
from collections.abc import Hashable, Iterable, Sequence


def cached_tokens(
    prompts: Iterable[Sequence[Hashable]],
    *,
    block: int,
    num_blocks: int | None = None,
    output_tokens: int = 0,
    in_flight: int = 1,
) -> int:
    """Tokens that are found in the cache when the prompts are asked in this order, some in flight at a time.

    A prompt waits until its blocks fit beside those of the prompts that run; the one begun first ends first.
    """
    cached: OrderedDict[Hashable, None] = OrderedDict()  # whole blocks by the tokens up to their end; oldest first
    held: Counter[Hashable] = Counter()  # whole blocks of prompts that run
    running: deque[tuple[list[Hashable], int]] = deque()
    private = found = 0

    def end() -> None:
        nonlocal private
        keys, own = running.popleft()
        private -= own
        for key in reversed(keys):  # the end of a prompt is freed, and so forgotten, first
            held[key] -= 1
            if held[key] == 0:
                del held[key]
                cached.pop(key, None)
                cached[key] = None

    for prompt in prompts:
        if len(running) == in_flight:
            end()
        tokens = tuple(prompt)
        keys: list[Hashable] = [tokens[: (i + 1) * block] for i in range(len(tokens) // block)]
        own = -(-(len(tokens) + output_tokens) // block) - len(keys)
        while True:
            most = (len(tokens) - 1) // block
            hits = next((i for i, key in enumerate(keys[:most]) if key not in cached and key not in held), most)
            wanted = private + own + len(held.keys() | set(keys))
            if num_blocks is None or wanted <= num_blocks or not running:
                break
            end()
        found += hits * block
        private += own
        for key in keys:
            cached.pop(key, None)
            held[key] += 1
        running.append((keys, own))
        while num_blocks is not None and cached and len(cached) + len(held) + private > num_blocks:
            cached.popitem(last=False)
    return found
