"""How far have the test server's batches of embeddings come?

A batch goes step by step: validating, in_progress (nothing done, then half), finalizing (all done), completed. What a
step computes is in the ledger when the step is over. A fate, told before a batch is created, lets it end otherwise.
"""

from __future__ import annotations

import json
import math
import random
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from openai_batch import DONE, Batch, Fate, answered, given_up
from openai_embeddings import Asked, Limits, Refused, Rules, as_json, parse, vectors
from openai_files import Files, page
from openai_ledger import Entry, Ledger
from openai_lines import Line, NotABatch, read_lines
from openai_mischief import ANSWER, spoil
from starlette.requests import Request

BATCH = "BATCH"
"""The route of entries in the ledger that a step of a batch makes."""

CANCELLED = "This batch was cancelled before this request was executed."
EXPIRED = "This request could not be executed before the completion window expired."


class Batches:
    """All of them, oldest first; safe to use from several threads."""

    def __init__(
        self, files: Files, ledger: Ledger, rules: Callable[[], Rules], pace: Callable[[], float | str]
    ) -> None:
        self.fates: list[Fate] = []
        """Of the next batches."""
        self._files, self._ledger, self._rules, self._pace = files, ledger, rules, pace
        self._batches: dict[str, Batch] = {}
        self._lock = threading.RLock()

    def answer(self, route: str, request: Request, body: bytes, limits: Limits) -> Any:
        """What is answered on a route of batches; None on other routes."""
        with self._lock:
            self._pass_time()
            match route:
                case "POST /v1/batches":
                    return self._create(body).to_json()
                case "GET /v1/batches":
                    told = [batch.to_json() for batch in self._batches.values()]
                    return page(told, request.query_params, most=100, default=20)
                case "GET /v1/batches/{id}":
                    batch = self._get(request)
                    if self._pace() == "retrieval":
                        self._step(batch)
                    return batch.to_json()
                case "POST /v1/batches/{id}/cancel":
                    return self._cancel(self._get(request)).to_json()
        return None

    def advance(self, steps: int = 1, id: str | None = None) -> None:
        """Let one, or all, go so many steps."""
        with self._lock:
            for batch in self._batches.values():
                if id in (None, batch.id):
                    for _ in range(steps):
                        self._step(batch)

    def statuses(self) -> dict[str, str]:
        """Where each batch is, oldest first."""
        with self._lock:
            return {id: batch.status for id, batch in self._batches.items()}

    def _get(self, request: Request) -> Batch:
        id = request.url.path.split("/")[3]
        if id not in self._batches:
            raise Refused(404, f"No batch found with id '{id}'.")
        return self._batches[id]

    def _create(self, body: bytes) -> Batch:
        asked = _object(body)
        if asked.get("endpoint") != "/v1/embeddings":
            raise Refused(400, "Invalid 'endpoint': this server takes '/v1/embeddings' alone.", param="endpoint")
        if asked.get("completion_window") != "24h":
            raise Refused(400, "Invalid 'completion_window': supported is '24h'.", param="completion_window")
        metadata = asked.get("metadata")
        _check_metadata(metadata)
        file = self._files.get(str(asked.get("input_file_id")))
        if file.purpose != "batch":
            raise Refused(400, f"The file {file.id} was not uploaded for a batch.", param="input_file_id")
        fate = self.fates.pop(0) if self.fates else None
        batch = Batch(f"batch_{uuid.uuid4().hex}", file, fate, metadata)
        self._batches[batch.id] = batch
        return batch

    def _cancel(self, batch: Batch) -> Batch:
        if batch.status not in ("validating", "in_progress"):
            raise Refused(400, f"Cannot cancel a batch with status '{batch.status}'.")
        batch.come_to("cancelling")
        return batch

    def _pass_time(self) -> None:
        """Let the batches go the steps that their time is up for."""
        pace = self._pace()
        if isinstance(pace, str):
            return
        for batch in self._batches.values():
            while batch.status not in DONE and time.monotonic() - batch.stepped >= pace:
                batch.stepped += pace
                self._step(batch)

    def _step(self, batch: Batch) -> None:
        """Go a step."""
        match batch.status:
            case "validating":
                self._validate(batch)
            case "in_progress":
                self._progress(batch)
            case "finalizing":
                self._end(batch, "completed")
            case "cancelling":
                self._stop(batch, "batch_cancelled", CANCELLED)
                self._end(batch, "cancelled")

    def _validate(self, batch: Batch) -> None:
        rules, fate = self._rules(), batch.fate.kind if batch.fate else None
        try:
            if fate == "fail":
                raise NotABatch("invalid_request", "The batch could not be validated.", 1)
            batch.lines = read_lines(batch.file.content, rules)
            batch.tokens = sum(line.tokens for line in batch.lines)
            self._check_enqueued(batch, rules.limits.enqueued_tokens if fate != "token_limit" else 0)
        except NotABatch as error:
            batch.lines = []
            batch.failures = [{"code": error.code, "line": error.line, "message": str(error), "param": None}]
            batch.come_to("failed")
            return
        given = list(batch.lines)
        random.Random(batch.fate.seed if batch.fate else 0).shuffle(batch.lines)
        if batch.lines == given:
            batch.lines.reverse()
        batch.come_to("in_progress")

    def _check_enqueued(self, batch: Batch, limit: int) -> None:
        model = batch.lines[0].body["model"]
        running = [each for each in self._batches.values() if each.status in ("in_progress", "finalizing")]
        enqueued = sum(each.tokens for each in running if each.lines[0].body["model"] == model)
        if enqueued + batch.tokens > limit:
            message = f"Enqueued token limit reached for {model}. Limit: {limit} enqueued tokens."
            raise NotABatch("token_limit_exceeded", message, None)

    def _progress(self, batch: Batch) -> None:
        total, fate = len(batch.lines), batch.fate
        if fate is not None and fate.kind == "expire":
            self._compute(batch, int(total * fate.share))
            self._stop(batch, "batch_expired", EXPIRED)
            self._end(batch, "expired")
        elif "half" not in batch.at:
            batch.at["half"] = int(time.time())
            self._compute(batch, total // 2)
        elif fate is None or fate.kind != "stuck":
            self._compute(batch, total)
            batch.come_to("finalizing")

    def _compute(self, batch: Batch, until: int) -> None:
        """Answer lines until so many are done, and put down what is paid for them."""
        struck = math.ceil(len(batch.lines) * batch.fate.share) if batch.fate else 0
        paid: dict[bool, list[Asked]] = {False: [], True: []}
        for at in range(batch.done, until):
            meets = batch.fate.kind if batch.fate and at < struck else None
            asked = self._line(batch, batch.lines[at], meets)
            if asked is not None:
                paid[meets in ANSWER].append(asked)
        batch.done = max(batch.done, until)
        for spoiled, asked_for in paid.items():
            if asked_for:
                self._put_down(asked_for, batch.fate.kind if spoiled and batch.fate else None)

    def _line(self, batch: Batch, line: Line, meets: str | None) -> Asked | None:
        """Answer a line; returns what is to be paid."""
        if meets == "forget":
            return None
        rules = self._rules()
        try:
            if meets == "partly":
                raise Refused(500, "The server had an error while processing your request.", "server_error")
            asked = parse(line.body, rules)
        except Refused as refused:
            batch.errors.append(answered(line, refused.status, {"error": refused.error}))
            return None
        answer = as_json(asked, spoil(vectors(asked, rules.models), meets))
        batch.outputs.append(answered(line, 200, answer))
        return asked

    def _put_down(self, paid: Sequence[Asked], act: str | None) -> None:
        texts = tuple(text for asked in paid for text in asked.texts)
        tokens = sum(sum(asked.tokens) for asked in paid)
        more = {"model": paid[0].model, "texts": texts, "tokens": tokens, "paid": True}
        self._ledger.write(Entry(time.time(), BATCH, 200, "batch", spoiled=act is not None, act=act, **more))

    def _stop(self, batch: Batch, code: str, message: str) -> None:
        """Give up on the lines that are not done."""
        batch.errors += [given_up(line, code, message) for line in batch.lines[batch.done :]]
        batch.done = len(batch.lines)

    def _end(self, batch: Batch, status: str) -> None:
        """Write the files, and be over."""
        for kind, lines in (("output", batch.outputs), ("error", batch.errors)):
            if lines:
                content = "".join(json.dumps(line) + "\n" for line in lines).encode()
                file = self._files.add(f"{batch.id}_{kind}.jsonl", "batch_output", content)
                setattr(batch, f"{kind}_file_id", file.id)
        batch.come_to(status)


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Refused(400, "We could not parse the JSON body of your request.")
    return found


def _check_metadata(metadata: Any) -> None:
    if metadata is None:
        return
    if not isinstance(metadata, dict) or len(metadata) > 16:
        raise Refused(400, "Invalid 'metadata': expected an object of at most 16 keys.", param="metadata")
    for key, value in metadata.items():
        if not isinstance(value, str) or len(key) > 64 or len(value) > 512:
            message = "Invalid 'metadata': keys have at most 64 characters, values are strings of at most 512."
            raise Refused(400, message, param="metadata")
