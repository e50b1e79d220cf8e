"""How does the test server take a request: key, mischief, answer, ledger, mischief again?

The state is in memory and told over `order`, in this process or as the body of `POST /control`. Whatever is answered
stands in the ledger before a byte of it is sent.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from openai_batches import Batches, Fate
from openai_embeddings import EmbeddingModel, Limits, Refused, Rules, as_json, parse, vectors
from openai_files import Files
from openai_ledger import EMBEDDINGS, Entry, Ledger
from openai_mischief import Act, Mischief, spoil
from openai_rates import Gate, Rates
from openai_replies import Reply, as_response, before, no_money, refusal, too_fast, with_status
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

POISON_MESSAGE = "Your input was rejected as a result of our safety system."


@dataclass
class Settings:
    """What can be set at any time."""

    key: str = "sk-test"
    empty_account: bool = False
    poison: Callable[[str], bool] | str | None = None
    """Which texts are refused: those for which it is true, or which hold it."""
    poison_message: str = POISON_MESSAGE
    poison_status: int = 400
    rates: Rates = field(default_factory=Rates)
    limits: Limits = field(default_factory=Limits)
    pace: float | str = "retrieval"
    """When a batch goes a step: at each `retrieval`, after so many seconds, or when `told`."""

    def poisonous(self, text: str) -> bool:
        """Whether a text is refused."""
        if self.poison is None:
            return False
        return self.poison in text if isinstance(self.poison, str) else self.poison(text)


class Api:
    """The application."""

    def __init__(self, models: Mapping[str, EmbeddingModel], ledger: Ledger, settings: Settings) -> None:
        self.models, self.ledger, self.settings = models, ledger, settings
        self.mischief = Mischief()
        self.files = Files()
        self.batches = Batches(self.files, ledger, lambda: self.rules, lambda: self.settings.pace)
        self.gate = Gate(settings.rates)
        self.closing = False
        self._in_flight = 0
        self._lock = threading.Lock()

    @property
    def rules(self) -> Rules:
        """Which texts are taken now."""
        now = self.settings
        return Rules(self.models, now.limits, now.poisonous, now.poison_message, now.poison_status)

    def order(self, order: Mapping[str, Any]) -> None:
        """Do as told; the keys are the methods of `openai_server.Orders`."""
        for each in order.get("plan", ()):
            self.mischief.plan(**each)
        if "mix" in order:
            self.mischief.mix(**order["mix"])
        if "fate" in order:
            self.batches.fates.append(Fate(**order["fate"]))
        if "advance" in order:
            self.batches.advance(**order["advance"])
        changes = dict(order.get("set", {}))
        for name, shape in (("rates", Rates), ("limits", Limits)):
            if isinstance(changes.get(name), Mapping):
                changes[name] = shape(**changes[name])
        self.settings = replace(self.settings, **changes)
        if "rates" in changes:
            self.gate = Gate(self.settings.rates)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or break it off."""
        request = Request(scope, receive)
        route = _route(request)
        try:
            body = await request.body()
        except ClientDisconnect:
            return
        if request.url.path == "/control":
            await self._control(request, body)(scope, receive, send)
            return
        came, in_flight = time.time(), self._enter(route)
        try:
            entry = Entry(came, route, 0, in_flight=in_flight)
            await self._answer(request, body, entry, send)
        finally:
            self._leave(route)

    def _enter(self, route: str) -> int:
        with self._lock:
            self._in_flight += route == EMBEDDINGS
            return self._in_flight

    def _leave(self, route: str) -> None:
        with self._lock:
            self._in_flight -= route == EMBEDDINGS

    def _control(self, request: Request, body: bytes) -> Response:
        if request.method == "POST":
            try:
                self.order(json.loads(body))
            except (TypeError, ValueError, KeyError) as error:
                return as_response(Reply({"error": str(error)}, 400))
        ledger = self.ledger
        return as_response(
            Reply(
                {
                    "planned": self.mischief.planned,
                    "requests": len(ledger.requests),
                    "refused_for_rate": ledger.refused_for_rate,
                    "most_in_flight": ledger.most_in_flight,
                    "tokens_paid": ledger.tokens_paid,
                    "batches": self.batches.statuses(),
                }
            )
        )

    async def _answer(self, request: Request, body: bytes, entry: Entry, send: Send) -> None:
        refused = self._stranger(request)
        act = None if refused else self.mischief.next(entry.route)
        entry = replace(entry, act=act and act.kind)
        if act is not None and act.refuses:
            refused = before(act)
            if act.kind.startswith("hold"):
                await self._hold(request, act.seconds)
            if refused is None and (act.kind == "cut_before" or _gone(request)):
                self.ledger.write(entry)
                await _cut(request)
                return
        # Requests that mischief refuses are not looked at: nothing is computed, and nothing is paid.
        reply = refused or await run_in_threadpool(self._reply, request, body, entry.route, act)
        if act is not None and act.kind == "hold_after":
            await self._hold(request, act.seconds)
        spoiled = act is not None and reply.status == 200 and (act.spoils or _gone(request))
        self.ledger.write(replace(entry, status=reply.status, spoiled=spoiled, **reply.entry))
        await self._send(request, reply, act if reply.status == 200 else None, send)

    def _stranger(self, request: Request) -> Reply | None:
        if request.headers.get("authorization") != f"Bearer {self.settings.key}":
            return refusal(Refused(401, "Incorrect API key provided.", code="invalid_api_key"))
        if self.settings.empty_account and request.method == "POST":
            return refusal(no_money())
        return None

    def _reply(self, request: Request, body: bytes, route: str, act: Act | None) -> Reply:
        try:
            if route == EMBEDDINGS:
                return self._embeddings(body, act)
            for resource in (self.files, self.batches):
                found = resource.answer(route, request, body, self.settings.limits)
                if found is not None:
                    return Reply(found)
            raise Refused(404, f"Invalid URL ({request.method} {request.url.path})")
        except Refused as refused:
            return refusal(refused)

    def _embeddings(self, body: bytes, act: Act | None) -> Reply:
        try:
            asked = parse(_json(body), self.rules)
        except Refused as refused:
            return replace(refusal(refused), entry=_texts(body))
        tokens = sum(asked.tokens)
        told = {"model": asked.model, "texts": asked.texts}
        fast = self.gate.admit(tokens)
        if fast is not None:
            reply = refusal(too_fast(fast, asked.model, tokens, self.settings.rates))
            return replace(reply, headers={**self.gate.headers(), **reply.headers}, entry={**told, "rate": True})
        kind = act.kind if act else None
        answer = as_json(asked, spoil(vectors(asked, self.models), kind))
        if kind == "no_usage":
            del answer["usage"]
        return Reply(answer, headers=self.gate.headers(), entry={**told, "tokens": tokens, "paid": True})

    async def _send(self, request: Request, reply: Reply, act: Act | None, send: Send) -> None:
        response = as_response(reply)
        kind = act.kind if act else ""
        if kind.startswith("lost_"):
            response = as_response(with_status(int(kind[5:])))
        elif kind == "garbage":
            response.body = response.body[: len(response.body) // 2] + b"}}"
            response.headers["content-length"] = str(len(response.body))
        elif kind == "html":
            response = Response("<html><body>Bad gateway</body></html>", media_type="text/html")
        if kind == "cut_after" or _gone(request):
            await _cut(request)
        elif act is not None and kind in ("slow", "cut_middle"):
            await self._drip(request, response, act, send)
        else:
            await response(request.scope, request.receive, send)

    async def _drip(self, request: Request, response: Response, act: Act, send: Send) -> None:
        """Send the body in ten pieces over the seconds; or one half of it, and hang up."""
        await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
        body, size = bytes(response.body), max(1, len(response.body) // 10)
        if act.kind == "cut_middle":
            await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
            request.scope["transport"].close()
            return
        for start in range(0, len(body), size):
            await self._hold(request, act.seconds / 10)
            await send({"type": "http.response.body", "body": body[start : start + size], "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _hold(self, request: Request, seconds: float) -> None:
        """Wait, unless the client leaves or the server ends."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.closing and not _gone(request):
            await asyncio.sleep(min(0.02, max(0.0, end - time.monotonic())))


def _route(request: Request) -> str:
    path = re.sub(r"^(/v1/(?:files|batches)/)[^/]+", r"\1{id}", request.url.path)
    return f"{request.method} {path}"


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        raise Refused(400, "We could not parse the JSON body of your request.") from None


def _texts(body: bytes) -> Mapping[str, Any]:
    """What a refused request asked for, as far as it can be read."""
    try:
        asked = json.loads(body)
        given = asked["input"]
        texts = [given] if isinstance(given, str) else given
        return {"model": asked.get("model"), "texts": tuple(text for text in texts if isinstance(text, str))}
    except (ValueError, KeyError, TypeError):
        return {}


def _gone(request: Request) -> bool:
    return bool(request.scope["transport"].is_closing())


async def _cut(request: Request) -> None:
    """Hang up without a byte, and wait until that is known."""
    request.scope["transport"].abort()
    while (await request.receive())["type"] != "http.disconnect":
        pass
