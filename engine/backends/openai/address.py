"""Where an endpoint is, and the key that it is asked with."""

import ipaddress
import os
from urllib.parse import urlsplit

from xpoll.core.errors import ConfigError
from xpoll.core.secrets import hide


def is_this_machine(url: str) -> bool:
    """Whether an address is this machine's loopback, or no address at all; such a one is asked without a proxy."""
    host = (urlsplit(url).hostname or "").rstrip(".").casefold()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_unspecified)


def key_in(variable: str) -> str:
    """The key in an environment variable, without spaces and line breaks around it; empty without one.

    It is struck out of everything that is printed and recorded from then on.

    Raises:
        ConfigError: it holds a line break or another control character.
    """
    given = os.environ.get(variable, "")
    key = given.strip()
    hide(given)
    if not key.isprintable() or not key.isascii():
        raise ConfigError(
            f"{variable} holds a character that no key has, e.g. a line break",
            mend=f"export {variable}=... without it",
        )
    return key
