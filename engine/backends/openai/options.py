"""The options of an endpoint, as a job sets them."""

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from xpoll.core.config.job import Section


class OpenAIOptions(Section):
    """`[engine.openai]`."""

    base_url: str
    """Address of the API up to its version, e.g. "http://127.0.0.1:8000/v1"."""
    api_key_env: str = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key; endpoints that need none are asked without it."""
    request_timeout_s: Annotated[float, Field(gt=0)] = 120
    """How long a request may take, in seconds; keep it below engine.hang_timeout_s."""
    max_retries: Annotated[int, Field(ge=0)] = 6
    """How often a request is sent again before its row becomes an error row."""
    first_wait_s: Annotated[float, Field(gt=0)] = 1.0
    """Longest wait before the first retry, in seconds; it doubles each time, up to 60 s."""
    longest_wait_s: Annotated[float, Field(gt=0)] = 300
    """How long an endpoint that is away or asks to wait (Retry-After) is waited for, in seconds; then the run stops."""
    max_concurrency: Annotated[int, Field(ge=1)] = 256
    """Most requests at the endpoint; fewer where it shows that it is overloaded."""
    structured_outputs: Literal["auto", "vllm", "response_format", "none"] = "auto"
    """How answers are constrained; `auto` takes vLLM's way where the endpoint says that it is vLLM."""
    n: bool = True
    """Ask for all samples of a text and persona in one request, where the endpoint can."""
    extra_body: dict[str, Any] = {}
    """Added to every request, e.g. {reasoning_effort = "low"}."""

    @field_validator("base_url")
    @classmethod
    def _is_an_address_without_a_secret(cls, base_url: str) -> str:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must begin with http:// or https:// and a host")
        if parts.username or parts.password or parts.query:
            raise ValueError("must hold no user, password or query; the key comes from the variable in api_key_env")
        return base_url.rstrip("/").removesuffix("/chat/completions")
