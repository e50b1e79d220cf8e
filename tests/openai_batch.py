"""What is a batch of the test server, and what may become of it?"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from openai_files import File
from openai_lines import Line
from openai_mischief import ANSWER

DONE = ("completed", "failed", "expired", "cancelled")
FATES = ("fine", "fail", "token_limit", "expire", "partly", "forget", "stuck", *ANSWER)


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a batch."""

    kind: str
    """`fine`; `fail` at validation, `token_limit` (refused there for too many enqueued tokens), `expire` with a share
    of the lines done, `partly` (a share of the lines fail with a 500), `forget` (a share of the lines is in no file),
    `stuck` (stays in progress, half done), or a mischief of answers for a share of the lines."""
    share: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in FATES:
            raise ValueError(f"{self.kind!r} is no fate of a batch.")


@dataclass
class Batch:
    """A batch and all that is told of it."""

    id: str
    file: File
    fate: Fate | None
    metadata: Mapping[str, str] | None
    created_at: int = field(default_factory=lambda: int(time.time()))
    status: str = "validating"
    lines: list[Line] = field(default_factory=list)
    """In the order in which they are computed, which is not the file's."""
    done: int = 0
    """How many lines were looked at."""
    tokens: int = 0
    """The tokens of all its lines."""
    outputs: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    """Why it failed at validation."""
    at: dict[str, int] = field(default_factory=dict)
    """When it came to each status."""
    output_file_id: str | None = None
    error_file_id: str | None = None
    stepped: float = field(default_factory=time.monotonic)

    def to_json(self) -> dict[str, Any]:
        """OpenAI's batch object."""
        statuses = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": "/v1/embeddings",
            "errors": {"object": "list", "data": self.failures} if self.failures else None,
            "input_file_id": self.file.id,
            "completion_window": "24h",
            "status": self.status,
            "output_file_id": self.output_file_id,
            "error_file_id": self.error_file_id,
            "created_at": self.created_at,
            "expires_at": self.created_at + 86_400,
            **{f"{status}_at": self.at.get(status) for status in statuses},
            "request_counts": {
                "total": len(self.lines),
                "completed": len(self.outputs),
                "failed": len(self.errors),
            },
            "metadata": self.metadata,
        }

    def come_to(self, status: str) -> None:
        """Be in that status from now on."""
        self.status = status
        self.at[status] = int(time.time())


def answered(line: Line, status: int, body: Mapping[str, Any]) -> dict[str, Any]:
    """A line of an output or error file."""
    request = f"req_{uuid.uuid4().hex}"
    return {
        "id": f"batch_req_{uuid.uuid4().hex}",
        "custom_id": line.custom_id,
        "response": {"status_code": status, "request_id": request, "body": body},
        "error": None,
    }


def given_up(line: Line, code: str, message: str) -> dict[str, Any]:
    """A line of an error file, of a request that was never executed."""
    error = {"code": code, "message": message}
    return {"id": f"batch_req_{uuid.uuid4().hex}", "custom_id": line.custom_id, "response": None, "error": error}
