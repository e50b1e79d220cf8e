"""Who may ask the service?

The environment alone says so, for a key in a file is soon in a backup and in a repository. A key is masked wherever it
might be shown, and no message quotes one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, SecretStr

from indexer.errors import ConfigurationError

API_KEYS = "PARECIDO_API_KEYS"
ALLOW_ANYONE = "PARECIDO_ALLOW_ANYONE"

SHORTEST_KEY = 16
"""Characters; what can be guessed is no key."""

_KEY = re.compile(r"[A-Za-z0-9._~+/-]+=*")
"""What can follow `Bearer` in a header: RFC 6750, section 2.1."""
_YES_OR_NO = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False, "": False}
_MAKE_ONE = 'make one with `python3 -c "import secrets; print(secrets.token_urlsafe(32))"`'


class Access(BaseModel):
    """Whom the service answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    api_keys: tuple[SecretStr, ...] = ()
    """Whoever sends one of these; everybody where there are none."""
    allow_anyone: bool = False
    """Whether the service may listen beyond loopback without keys, so that whoever reaches it can read everything."""


def read_access(environment: Mapping[str, str]) -> Access:
    """What the environment says; raises ConfigurationError for a key that is none."""
    keys = environment.get(API_KEYS)
    allowed = environment.get(ALLOW_ANYONE, "").strip().lower()
    if allowed not in _YES_OR_NO:
        raise ConfigurationError(f"{ALLOW_ANYONE} is 1 or 0 (got {environment[ALLOW_ANYONE]!r}).")
    return Access(api_keys=() if keys is None else _keys(keys), allow_anyone=_YES_OR_NO[allowed])


def _keys(listed: str) -> tuple[SecretStr, ...]:
    keys = listed.split(",")
    for number, key in enumerate(keys, start=1):
        if fault := _fault(key):
            raise ConfigurationError(f"{API_KEYS}, comma separated, key {number} of {len(keys)}: {fault}.")
    return tuple(map(SecretStr, keys))


def _fault(key: str) -> str | None:
    """What is wrong with a key, without telling any of it."""
    if not key:
        return f"it is empty; {_MAKE_ONE}, or unset {API_KEYS}"
    if key.split() != [key]:
        return "there is white space in or around it; take it out"
    if not _KEY.fullmatch(key):
        return f"a key is of letters, digits and - . _ ~ + /; {_MAKE_ONE}"
    if len(key) < SHORTEST_KEY:
        return f"it has {len(key)} characters, and at least {SHORTEST_KEY} are needed; {_MAKE_ONE}"
    return None
