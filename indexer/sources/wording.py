"""How is a value of a source named to a person?"""

from __future__ import annotations

from datetime import date

LONGEST_QUOTE = 60

_KINDS = ((dict, "an object"), (list, "a list"), (bytes, "binary data"))


def describe(value: object) -> str:
    """A short phrase for a value, such as "text ('abc')" or "an integer (3)".

    What an object or a list holds is left out: YAML can build one of a few lines whose spelling fills the memory.
    """
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"a boolean ({str(value).lower()})"
    if isinstance(value, str):
        return f"text ({_quote(value)})"
    if isinstance(value, int):
        return f"an integer ({value})" if value.bit_length() <= 64 else "an integer beyond 64 bits"
    if isinstance(value, float):
        return f"a float ({value})"
    if isinstance(value, date):
        return f"a date ({value.isoformat()})"
    return next((word for kind, word in _KINDS if isinstance(value, kind)), f"a {type(value).__name__}")


def _quote(text: str) -> str:
    return repr(text if len(text) <= LONGEST_QUOTE else text[: LONGEST_QUOTE - 1] + "…")
