"""What does the service's interface look like to a program? Prints it, as it stands in openapi.json."""

from __future__ import annotations

import json
import sys

from starlette.datastructures import State

from service.described import described


def openapi() -> str:
    """The OpenAPI description of the service, in a form in which two versions can be compared line by line."""
    return json.dumps(described(State()).openapi(), sort_keys=True, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(openapi())
