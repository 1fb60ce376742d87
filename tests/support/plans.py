"""A plan whose figures a test does not care about."""

from typing import Any

from xpoll.engine.planning.plan import Plan


def make_plan(*, documents: int, prompts: int, **figures: Any) -> Plan:
    """A plan of so many documents and prompts."""
    unknown = dict.fromkeys(name for name, field in Plan.model_fields.items() if field.is_required())
    about = {
        "backend": "replay",
        "model": "m",
        "devices_left_out": [],
        "max_in_flight": 1024,
        "probes": 0,
        "prompt_order": "persona_first",
        "prompt_order_reason": "as given",
        "predicted": {},
    }
    return Plan(**unknown | about | {"documents": documents, "prompts": prompts} | figures)
