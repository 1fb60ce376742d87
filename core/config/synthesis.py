"""The [synthesis] section: texts that personas write, for a job that has none or as a data set of their own."""

from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from xpoll.core.config.task import Section

SYNTHESIZED = "synthesized.parquet"
"""Name of a run's file of synthesized texts."""


class SynthesisConfig(Section):
    """[synthesis]: which texts personas write, and which of them are kept. See docs/howto/synthesis.md."""

    count: Annotated[int, Field(ge=0)] = 0
    """How many texts are asked for; 0: none, the job has its texts. Where `documents.path` is empty, the texts that
    are kept are the job's documents."""
    templates: list[str] = ["labelled_text"]
    """What is written: names of synthesis/templates, or paths of files of the same form. Each gets an equal share."""
    text_kind: str = "short text"
    """What the texts are, e.g. "message of a customer to an online bank"; templates name it."""
    personas: list[str] = []
    """Who writes: personas by library name or path of a TOML file. The whole library if neither these nor
    `persona_file` are given."""
    persona_file: str | None = None
    """File of personas of any length, {"persona": ...} a row; as many as there are texts are drawn from it."""
    marginals: dict[str, dict[str, float]] = {}
    """Shares that the personas drawn from `persona_file` are to have, by a column of it, e.g.
    {age = {"18-39" = 0.4, "40+" = 0.6}}; raked where there are several."""
    texts: str | None = None
    """Texts for templates that begin with one (`text_to_persona`), in a column `text`."""
    rounds: Annotated[int, Field(ge=1)] = 1
    """How often texts are asked for at most: after the first time as many more as it takes until `count` are kept, by
    the share that was kept so far."""
    control: Annotated[int, Field(ge=0)] = 0
    """Texts that nobody in particular writes beside them, by the same templates; none is kept. They show what personas
    add in diversity."""
    sampling: dict[str, Any] = {}
    """Sampling parameters in place of the templates' own: `temperature`, `top_p`, `max_tokens`, and any other under
    vLLM's name."""
    gates: dict[str, Any] = {}
    """Settings of gates by name, e.g. {length = {least_chars = 40}, language = {expected = "en"}}; false leaves one
    out. The table is in synthesis/gates/registry.py."""
    verify: bool = True
    """Whether a text keeps the label that it was written for only if the panel's vote agrees."""

    @field_validator("templates")
    @classmethod
    def _templates_are_named(cls, templates: list[str]) -> list[str]:
        if not templates:
            raise ValueError("templates must name at least one template")
        if len(set(templates)) != len(templates):
            raise ValueError(f"templates must name each template once, got {templates}")
        return templates

    @model_validator(mode="after")
    def _marginals_are_shares_of_a_file(self) -> "SynthesisConfig":
        if self.marginals and self.persona_file is None:
            raise ValueError("marginals are those of personas drawn from persona_file, which is not given")
        check_marginals(self.marginals, "marginals")
        return self


def check_marginals(marginals: dict[str, dict[str, float]], name: str) -> None:
    """Refuses shares that are none.

    Raises:
        ValueError: those of a column are negative, or do not sum to 1.
    """
    for column, shares in marginals.items():
        if not shares or min(shares.values()) < 0 or abs(sum(shares.values()) - 1) > 1e-6:
            raise ValueError(f"{name}.{column}: shares must be at least 0 and sum to 1, got {shares}")
