"""What does the head of a Markdown file say about it?

Front matter is YAML between a first line `---` and the next line `---`, as Jekyll has it
(https://jekyllrb.com/docs/front-matter/). Without the second line there is none, and the first is a rule to be drawn.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from indexer.sources.wording import describe

MAX_DEPTH = 100

_FRONT_MATTER = re.compile(r"\A---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def split_front_matter(text: str) -> tuple[dict[str, Any], str]:
    """The fields and the body of a Markdown text. Raises ValueError with the reason where the fields are no mapping."""
    match = _FRONT_MATTER.match(text)
    if match is None:
        return {}, text
    fields = _load(match[1])
    if fields is None:
        fields = {}
    if not isinstance(fields, dict):
        raise ValueError(f"the front matter is {describe(fields)}, not a mapping")
    for name in fields:
        if not isinstance(name, str):
            raise ValueError(f"the front matter has a name that is {describe(name)}: put it in quotes")
    return fields, text[match.end() :]


def _load(front: str) -> object:
    try:
        _check_depth(front)
        return yaml.load(front, Loader=_Loader)  # noqa: S506 -- both loaders are the safe ones
    except yaml.MarkedYAMLError as error:
        # The mark counts from 0, and the line `---` stands before it.
        where = "" if error.problem_mark is None else f", line {error.problem_mark.line + 2}"
        raise ValueError(f"the front matter is not YAML: {error.problem or error.context}{where}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"the front matter is not YAML: {' '.join(str(error).split())}") from error


def _check_depth(front: str) -> None:
    """Raises ValueError for brackets in brackets without end: libyaml's composer then overruns the C stack."""
    depth = 0
    for event in yaml.parse(front, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} lists and mappings in one another")
