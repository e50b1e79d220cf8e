"""Which files were uploaded to the test server, or written by its batches?"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from typing import Any

from openai_embeddings import Limits, Refused
from starlette.requests import Request


@dataclass(frozen=True, slots=True)
class File:
    """A file and what is told of it."""

    id: str
    filename: str
    purpose: str
    content: bytes
    created_at: int

    def to_json(self) -> dict[str, Any]:
        """OpenAI's file object."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": len(self.content),
            "created_at": self.created_at,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
        }


class Files:
    """All of them, oldest first; safe to use from several threads."""

    def __init__(self) -> None:
        self._files: dict[str, File] = {}
        self._lock = threading.Lock()

    def answer(self, route: str, request: Request, body: bytes, limits: Limits) -> Any:
        """What is answered on a route of files; None on other routes."""
        match route:
            case "POST /v1/files":
                return self._upload(request, body, limits).to_json()
            case "GET /v1/files":
                purpose = request.query_params.get("purpose")
                found = [file.to_json() for file in self.all() if purpose in (None, file.purpose)]
                return page(found, request.query_params, most=10_000, default=10_000)
            case "GET /v1/files/{id}":
                return self.get(_id(request)).to_json()
            case "GET /v1/files/{id}/content":
                return self.get(_id(request)).content
            case "DELETE /v1/files/{id}":
                return self._delete(_id(request))
        return None

    def all(self) -> list[File]:
        """Every file that was not deleted, oldest first."""
        with self._lock:
            return list(self._files.values())

    def get(self, id: str) -> File:
        """One of them; raises Refused."""
        with self._lock:
            if id not in self._files:
                raise Refused(404, f"No such File object: {id}", param="id")
            return self._files[id]

    def add(self, filename: str, purpose: str, content: bytes) -> File:
        """Keep a new file."""
        file = File(f"file-{uuid.uuid4().hex[:24]}", filename, purpose, content, int(time.time()))
        with self._lock:
            self._files[file.id] = file
        return file

    def _delete(self, id: str) -> dict[str, Any]:
        self.get(id)
        with self._lock:
            self._files.pop(id, None)
        return {"id": id, "object": "file", "deleted": True}

    def _upload(self, request: Request, body: bytes, limits: Limits) -> File:
        parts = _parts(request.headers.get("content-type", ""), body)
        if "file" not in parts:
            raise Refused(400, "'file' is a required property")
        filename, content = parts["file"]
        purpose = parts.get("purpose", ("", b""))[1].decode()
        if purpose != "batch":
            raise Refused(400, f"'{purpose}' is not one of ['batch']", param="purpose")
        if len(content) > limits.file_bytes:
            raise Refused(400, f"File is too large. Maximum file size for batch is {limits.file_bytes} bytes.")
        return self.add(filename, purpose, content)


def page(objects: Sequence[Any], query: Mapping[str, str], most: int, default: int) -> dict[str, Any]:
    """A page of the list of objects, given oldest first, told newest first unless `order` says otherwise."""
    ordered = list(objects) if query.get("order") == "asc" else list(reversed(objects))
    told = query.get("limit", str(default))
    limit = int(told) if told.isdecimal() else 0
    if not 1 <= limit <= most:
        raise Refused(400, f"Invalid 'limit': expected a value from 1 to {most}.", param="limit")
    if "after" in query:
        at = next((at for at, each in enumerate(ordered) if each["id"] == query["after"]), None)
        if at is None:
            raise Refused(400, f"Invalid 'after': no object has the id {query['after']}.", param="after")
        ordered = ordered[at + 1 :]
    shown = ordered[:limit]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": len(ordered) > limit,
    }


def _id(request: Request) -> str:
    return request.url.path.split("/")[3]


def _parts(content_type: str, body: bytes) -> dict[str, tuple[str, bytes]]:
    """The parts of a form with files, RFC 7578: file name and bytes by field."""
    boundary = _parameters("content-type", content_type).get_param("boundary")
    if not boundary:
        raise Refused(400, "The request is no multipart/form-data.")
    found = {}
    for part in (b"\r\n" + body).split(f"\r\n--{boundary}".encode())[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        lines = (line.partition(":") for line in head.decode().split("\r\n"))
        headers = {name.strip().lower(): value.strip() for name, _, value in lines}
        told = _parameters("content-disposition", headers.get("content-disposition", ""))
        name = told.get_param("name", header="content-disposition")
        filename = told.get_param("filename", "", header="content-disposition")
        found[str(name)] = (str(filename), content)
    return found


def _parameters(name: str, value: str) -> Message:
    message = Message()
    message[name] = value
    return message
