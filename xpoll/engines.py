"""Engines as the API names them: a [engine] section from keywords, and one that stays up for several jobs."""

import weakref
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from xpoll.core.config.file import checked_section, nearest
from xpoll.core.config.job import EngineConfig
from xpoll.core.errors import ConfigError
from xpoll.engine.backends.registry import BACKENDS, check_backend, spec_of

if TYPE_CHECKING:
    from xpoll.engine.lifetime import KeptEngines


def engine_section(engine: "str | Mapping[str, Any] | None", options: Mapping[str, Any]) -> dict[str, Any]:
    """The [engine] section of a backend's name, or of a section, with further options by name.

    Args:
        engine: Name of a backend, keys of [engine], or None for the default.
        options: Keys of [engine], options of the backend, or tables of options by the backend's name.

    Raises:
        ConfigError: there is no such backend or option; the nearest one is named.
    """
    raw: dict[str, Any] = {"backend": engine} if isinstance(engine, str) else dict(engine or {})
    backend = str(raw.get("backend", EngineConfig.model_fields["backend"].default))
    known = spec_of(backend).options
    own = list(known().model_fields) if known is not None else []
    for name, value in options.items():
        if name in EngineConfig.model_fields or (name in BACKENDS and isinstance(value, Mapping)):
            raw[name] = value
        elif name in own:
            raw[backend] = {**raw.get(backend, {}), name: value}
        else:
            mend = nearest(name, [*EngineConfig.model_fields, *own])
            if known is None:
                mend += f"; options of {backend} itself go into {backend}={{...}}"
            raise ConfigError(f"unknown option {name!r} of the engine", mend=mend)
    return raw


class OpenEngine:
    """An engine that stays up: its section, its workers, and when they end. `xpoll.Engine` adds the jobs.

    The first job starts it; `close`, or the end of a `with` block, ends it. One process has one at a time.

    Args:
        backend: Which backend answers, as `engine.backend` in docs/reference/configuration.md.
        options: Keys of [engine], e.g. model and device, and options of the backend, e.g. base_url.

    Raises:
        ConfigError: there is no such backend or option, or a value breaks a rule.
    """

    def __init__(self, backend: str | None = None, **options: Any) -> None:
        from xpoll.engine.lifetime import KeptEngines

        self._section = engine_section(backend, options)
        config = checked_section(EngineConfig, self._section, "engine")
        check_backend(config)
        self._kept: KeptEngines = KeptEngines(config)
        self._finalizer = weakref.finalize(self, self._kept.close)

    @property
    def section(self) -> dict[str, Any]:
        """Its [engine] section, as far as it was given."""
        return dict(self._section)

    @property
    def kept(self) -> "KeptEngines":
        """The workers, for the pipeline."""
        return self._kept

    def close(self) -> None:
        """Ends it and all its processes; a second call does nothing."""
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._kept.is_closed else "up" if self._kept.are_up() else "not started"
        return f"Engine({self._kept.config.backend}, {self._kept.config.model}: {state})"
