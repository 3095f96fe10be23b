# SPDX-License-Identifier: Apache-2.0
"""vLLM's HTTP API: health, counters, models, version, completions; failures are values."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from http import HTTPStatus
from http.client import HTTPException
from typing import Any

from urllib3.exceptions import HTTPError, NewConnectionError, ProtocolError
from urllib3.exceptions import TimeoutError as UrllibTimeoutError
from urllib3.util import Timeout, parse_url

from agent.core.engine.answers import Completion, ServedModel
from agent.core.engine.metrics import Counters, scan
from agent.core.plain import plain_name
from agent.host.vllm.access import OPEN, Access, UntrustedError, root_of
from agent.host.vllm.answer_text import error_message, ids_in, message_of, read_body, start_of
from agent.host.vllm.bounded_http import Allowance, bounded_pools, content_of
from agent.host.vllm.failure import ApiFailure, FailureKind
from agent.version import VERSION

METRICS_BYTES = 8 << 20
ANSWER_BYTES = 1 << 20
HEAD_BYTES = 128 << 10
MOST_MODELS = 64
LARGEST_LENGTH = 1 << 40
RANK_HEADER = "X-data-parallel-rank"
HEADERS = {
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "Connection": "close",
    "User-Agent": f"llmagent/{VERSION}",
}


class HealthStatus(StrEnum):
    """What /health says; `healthy` means that no error was recorded: a hung engine says it too.

    `engine-dead` is 503 (0.11..0.32) or 500 (0.8..0.10) for at most 5 s before the process exits.
    """

    HEALTHY = "healthy"
    ENGINE_DEAD = "engine-dead"
    REFUSED = "refused"
    SILENT = "silent"
    STRANGE = "strange"


def service_url(host: str, port: int) -> str:
    """Return the address at which a server that listens on `host`, maybe a wildcard, is reached."""
    match host:
        case "" | "0.0.0.0":  # noqa: S104 - recognised, not bound
            reached = "127.0.0.1"
        case "::":
            reached = "[::1]"
        case _ if ":" in host:
            reached = f"[{host}]"
        case _:
            reached = host
    return f"http://{reached}:{port}"


class VllmApi:
    """Calls one vLLM server; each call is over after its deadline whatever the server does.

    Each call uses a fresh connection and closes it: uvicorn drops idle ones after 5 s, and a
    request that meets the drop would look like a dying server. One instance belongs to one thread.
    """

    def __init__(
        self,
        base_url: str,
        *,
        access: Access = OPEN,
        connect_seconds: float = 2.0,
        read_seconds: float = 5.0,
    ) -> None:
        self._base = base_url.rstrip("/")
        self._prefix = parse_url(self._base).path or ""
        self.access = access
        self._connect = connect_seconds
        self._read = read_seconds
        self._allowance = Allowance()
        self._pools = bounded_pools(self._base, self._allowance, access)

    def again(self) -> VllmApi:
        """Return another client of the same server, for another thread."""
        times = {"connect_seconds": self._connect, "read_seconds": self._read}
        return VllmApi(self._base, access=self.access, **times)

    def health(self) -> HealthStatus:
        """Ask /health."""
        match self._call("GET", "/health", ANSWER_BYTES):
            case bytes():
                return HealthStatus.HEALTHY
            case ApiFailure(kind=FailureKind.REFUSED | FailureKind.BROKEN):
                return HealthStatus.REFUSED
            case ApiFailure(kind=FailureKind.TIMEOUT):
                return HealthStatus.SILENT
            case ApiFailure(kind=FailureKind.HTTP_STATUS, status=500 | 503):
                return HealthStatus.ENGINE_DEAD
            case _:
                return HealthStatus.STRANGE

    def counters(self) -> Counters | ApiFailure:
        """Scrape /metrics; GARBAGE when it is not vLLM's."""
        body = self._call("GET", "/metrics", METRICS_BYTES)
        if isinstance(body, ApiFailure):
            return body
        return scan(body) or ApiFailure(FailureKind.GARBAGE, "/metrics holds no vLLM counter")

    def models(self) -> tuple[ServedModel, ...] | ApiFailure:
        """List /v1/models."""
        match self._json("GET", "/v1/models"):
            case ApiFailure() as failure:
                return failure
            case {"data": [*entries]}:
                first = entries[:MOST_MODELS]
                return tuple(_model(entry) for entry in first if isinstance(entry, dict))
            case _:
                return ApiFailure(FailureKind.GARBAGE, "/v1/models has no list `data`")

    def version(self) -> str | ApiFailure:
        """Return vLLM's version, such as `0.32.0`."""
        match self._json("GET", "/version"):
            case ApiFailure() as failure:
                return failure
            case {"version": str(version)}:
                return plain_name(version)
            case _:
                return ApiFailure(FailureKind.GARBAGE, "/version has no `version`")

    def routes(self) -> frozenset[str] | ApiFailure:
        """Return the paths that the server has; a failure with --disable-fastapi-docs."""
        match self._json("GET", "/openapi.json"):
            case ApiFailure() as failure:
                return failure
            case {"paths": {**paths}}:
                return frozenset(str(path) for path in paths)
            case _:
                return ApiFailure(FailureKind.GARBAGE, "/openapi.json has no `paths`")

    def state(self, path: str) -> Any | ApiFailure:
        """Ask one of the routes that tell of the engine without asking it for work."""
        return self._json("GET", path)

    def ask(
        self,
        path: str,
        body: Mapping[str, Any],
        seconds: float,
        *,
        engine: str = "",
        sound: bytes | None = None,
    ) -> Any | ApiFailure:
        """Post a request within `seconds`, to one engine of a data-parallel service where named.

        Engines are chosen by a header (0.9.1..0.33). With `sound` the body is sent as a form.
        """
        headers = {RANK_HEADER: engine} if engine else {}
        return self._json("POST", path, body, seconds, headers, sound)

    def complete(
        self,
        model: str,
        prompt: str | Sequence[int],
        *,
        max_tokens: int,
        timeout: float,
        token_ids: bool = False,
        engine: str = "",
    ) -> Completion | ApiFailure:
        """Ask for a greedy completion of a text or of token ids, within `timeout` seconds in all.

        `token_ids` asks for the ids of what is generated, too (0.10.2..0.33); `engine` as in `ask`.
        vLLM 0.16 answers HTTP 200 with an `error` body when its engine is dead: ENGINE_ERROR.
        """
        started = time.monotonic()
        text = prompt if isinstance(prompt, str) else list(prompt)
        limits = {"max_tokens": max_tokens, "temperature": 0}
        asked = {"model": model, "prompt": text, **limits}
        if token_ids:
            asked["return_token_ids"] = True
        answer = self.ask("/v1/completions", asked, timeout, engine=engine)
        match answer:
            case ApiFailure() as failure:
                return failure
            case {
                "choices": [{"text": str(text), **choice}, *_],
                "usage": {"prompt_tokens": int(read), "completion_tokens": int(made)},
            }:
                reason = choice.get("finish_reason")
                return Completion(
                    text=text,
                    prompt_tokens=read,
                    completion_tokens=made,
                    finish_reason=reason if isinstance(reason, str) else None,
                    seconds=time.monotonic() - started,
                    token_ids=ids_in(choice.get("token_ids")),
                )
            case _:
                return ApiFailure(FailureKind.GARBAGE, "/v1/completions has no choice or no usage")

    def _json(
        self,
        method: str,
        path: str,
        asked: object = None,
        seconds: float | None = None,
        headers: Mapping[str, str] | None = None,
        sound: bytes | None = None,
    ) -> Any | ApiFailure:
        body = self._call(method, path, ANSWER_BYTES, asked, seconds, headers, sound)
        if isinstance(body, ApiFailure):
            return body
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            return ApiFailure(FailureKind.GARBAGE, f"{path} is not JSON: {start_of(body)}")
        error = error_message(document)
        if error is not None:
            return ApiFailure(FailureKind.ENGINE_ERROR, error, 200)
        return document

    def _call(
        self,
        method: str,
        path: str,
        cap: int,
        asked: Any = None,
        seconds: float | None = None,
        headers: Mapping[str, str] | None = None,
        sound: bytes | None = None,
    ) -> bytes | ApiFailure:
        """Return the body of a 200 answer of at most `cap` bytes."""
        allowed = self._connect + self._read if seconds is None else seconds
        content, kind = content_of(asked, sound)
        self._allowance.start(allowed, HEAD_BYTES)
        pool: Any = self._pools()
        try:
            with pool.urlopen(
                method,
                self._prefix + path,
                content,
                {**HEADERS, **kind, **self._key_for(path), **(headers or {})},
                retries=False,
                redirect=False,
                timeout=Timeout(connect=min(self._connect, allowed), read=allowed),
                preload_content=False,
                decode_content=False,
            ) as response:
                # Chunks cost up to six bytes each; vLLM's own are as long as what it sends.
                self._allowance.more(2 * cap)
                body = read_body(response, cap)
                status = response.status
        except (HTTPError, HTTPException, OSError, ValueError) as error:
            return self._failure(path, error, allowed)
        finally:
            pool.close()
        if body is None:
            return ApiFailure(FailureKind.GARBAGE, f"{path} is over {cap} bytes", status)
        if status != HTTPStatus.OK:
            return ApiFailure(FailureKind.HTTP_STATUS, f"{path}: {message_of(body)}", status)
        return body

    def _key_for(self, path: str) -> Mapping[str, str]:
        """Return the header with the key; what is open to all is asked without."""
        known = path in ("/health", "/metrics", "/version") or self.access.key is None
        return {} if known else {"Authorization": f"Bearer {self.access.key}"}

    def _failure(self, path: str, error: Exception, allowed: float) -> ApiFailure:
        if self._allowance.overrun():
            return ApiFailure(FailureKind.GARBAGE, f"{path} is longer than any that vLLM gives")
        # To urllib3 a connection that is refused is a kind of timeout.
        refused = isinstance(error, NewConnectionError)
        late = isinstance(error, TimeoutError | UrllibTimeoutError) and not refused
        if self._allowance.passed() or late:
            return ApiFailure(FailureKind.TIMEOUT, f"{path} within {round(allowed, 1):g} s")
        if isinstance(root_of(error), UntrustedError):
            return ApiFailure(FailureKind.UNTRUSTED, str(root_of(error)))
        if refused:
            return ApiFailure(FailureKind.REFUSED, self._base)
        if isinstance(error, ProtocolError):
            return ApiFailure(FailureKind.BROKEN, f"{path}: {start_of(str(error).encode())}")
        return ApiFailure(FailureKind.GARBAGE, f"{path}: {start_of(str(error).encode())}")


def _model(entry: dict[str, object]) -> ServedModel:
    name, root, length = entry.get("id"), entry.get("root"), entry.get("max_model_len")
    possible = isinstance(length, int) and 0 < length < LARGEST_LENGTH
    return ServedModel(
        id=plain_name(name) if isinstance(name, str) else "",
        root=plain_name(root) if isinstance(root, str) else None,
        max_model_len=length if isinstance(length, int) and possible else None,
    )
