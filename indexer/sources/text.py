"""Which text of a row is embedded?

One field, several joined by a blank line, or a template in which `{field}` stands for a field's text and `{{` and `}}`
for braces. What the fields hold is kept exactly as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from indexer.errors import ConfigurationError
from indexer.sources.row import is_unicode
from indexer.sources.wording import describe

DEFAULT_TEXT = "text"
SEPARATOR = "\n\n"

# Neither "a.b" nor "a[b]", "a!r" or "a:b": Python's format strings give them a meaning that is not meant here.
_TOKEN = re.compile(
    r"(?P<brace>\{\{|\}\})|\{(?P<field>[^\s{}.\[\]!:](?:[^{}.\[\]!:]*[^\s{}.\[\]!:])?)\}|(?P<rest>[^{}]+)"
)


@dataclass(frozen=True, slots=True)
class TextRecipe:
    """How a row's text is made."""

    fields: tuple[str, ...]
    """The fields that it is made of, each once."""
    template: tuple[tuple[str, bool], ...] | None = None
    """Words as they are (False) and names of fields (True), in order; None where the fields are joined."""


def plan_text(names: tuple[str, ...] | None) -> TextRecipe:
    """The recipe that the setting `text` asks for; raises ConfigurationError where it is not one."""
    if names is None:
        return TextRecipe((DEFAULT_TEXT,))
    if not names or not all(names):
        raise ConfigurationError("`text` leaves a field without a name: name the fields that hold text.", param="text")
    templates = [name for name in names if "{" in name or "}" in name]
    if templates and len(names) > 1:
        raise ConfigurationError(
            f"{templates[0]!r} is a template, and a template stands alone: put all fields of `text` into it.",
            param="text",
        )
    return _plan_template(templates[0]) if templates else TextRecipe(tuple(dict.fromkeys(names)))


def make_text(recipe: TextRecipe, fields: Mapping[str, Any]) -> str:
    """The text of a row; raises ValueError with the reason where a field is not text, or none has any."""
    texts = {name: _text_of(name, fields.get(name)) for name in recipe.fields}
    if not any(text and not text.isspace() for text in texts.values()):
        raise ValueError(f"empty text: {_missing(recipe.fields)}")
    if recipe.template is None:
        return SEPARATOR.join(text for text in texts.values() if text and not text.isspace())
    return "".join(texts[piece] if is_field else piece for piece, is_field in recipe.template)


def _plan_template(template: str) -> TextRecipe:
    pieces: list[tuple[str, bool]] = []
    end = 0
    while end < len(template):
        token = _TOKEN.match(template, end)
        if token is None:
            raise ConfigurationError(
                f"The template {template!r} cannot be read from {template[end:]!r} on: "
                "write {field} for a field, {{ and }} for braces, and nothing else between braces.",
                param="text",
            )
        pieces.append((token["field"], True) if token["field"] else (token["rest"] or token["brace"][0], False))
        end = token.end()
    fields = tuple(dict.fromkeys(piece for piece, is_field in pieces if is_field))
    if not fields:
        raise ConfigurationError(
            f"The template {template!r} names no field, so all texts would be the same: write {{field}} for a field.",
            param="text",
        )
    return TextRecipe(fields, tuple(pieces))


def _text_of(name: str, value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"field {name!r} holds {describe(value)}, but what is embedded must be text")
    if not is_unicode(value):
        raise ValueError(f"field {name!r} holds half a surrogate pair, which is not Unicode")
    return value


def _missing(names: tuple[str, ...]) -> str:
    if len(names) == 1:
        return f"field {names[0]!r} is missing or blank"
    return f"fields {', '.join(map(repr, names))} are all missing or blank"
