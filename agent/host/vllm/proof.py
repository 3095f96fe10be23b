# SPDX-License-Identifier: Apache-2.0
"""Has the model do the smallest piece of its own work, and tells an answer, a refusal and a miss.

A refusal is what the front end says without the engine: a key is missing, there is no such route,
generation is paused, the service scales. It proves nothing about the engine.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping
from dataclasses import field, replace
from types import MappingProxyType

from agent.core.engine.work import WORKS, Came, Work, works_of
from agent.core.record import dataclass
from agent.host.vllm.api import VllmApi
from agent.host.vllm.failure import ApiFailure, FailureKind

AUDIO = "audio file"
NO_AUDIO = " (what was sent is a sound WAV file: is vllm[audio] installed?)"
"""vLLM's wheel has no reader of sound: that is the extra `audio`, and without it 0.32 calls every
file "Invalid or unsupported audio file." (run)."""

NEEDS_A_KEY = frozenset({401, 403})
NO_SUCH_WORK = frozenset({400, 404, 405, 415, 422, 501})
"""How a server answers a request for a kind of work that its model does not do (0.8..0.33)."""

TOO_MANY = 429
NOT_NOW = 503
"""Said by the front end of a paused, scaling, retired or recovering engine (0.31..0.33); a dead
engine's requests end with 500, or with the connection."""

NOTHING_ELSE: Mapping[str, object] = MappingProxyType({})

STATES = (
    ("/is_paused", "is_paused", "the engine is paused (POST /resume ends it)"),
    ("/is_sleeping", "is_sleeping", "the engine sleeps (POST /wake_up ends it)"),
)
"""Routes of VLLM_SERVER_DEV_MODE=1 that tell of an engine which gives no tokens by design."""

RECOVERY = "/fault_tolerance/status"
"""With --enable-fault-tolerance (0.31): an engine that failed waits for its orchestrator."""


@dataclass(frozen=True, slots=True)
class Did:
    """The model did its work."""

    work: Work
    came: Came
    seconds: float


@dataclass(frozen=True, slots=True)
class Refused:
    """The front end let nothing through: `why`, as the end of a sentence.

    `no_such_work`: the model may do work of another kind. `queue_full`: too many wait already.
    """

    why: str
    queue_full: bool = False
    no_such_work: bool = False


@dataclass(frozen=True, slots=True)
class Missed:
    """The request was taken, and nothing right came of it in time.

    `away`: nobody listens. `late`: what comes may yet be right, as on a host that is very busy.
    """

    why: str
    away: bool = False
    late: bool = False


Proof = Did | Refused | Missed


@dataclass(slots=True)
class Prober:
    """Asks one run of a service; what kind of work it does is found out once."""

    api: VllmApi
    model: str
    _routes: frozenset[str] | None = None
    _works: tuple[Work, ...] = field(default=())

    def prove(self, seconds: float, engine: str = "") -> Proof:
        """Ask for a piece of work within `seconds`; `engine` is the rank that shall do it.

        Never raises.
        """
        end = time.monotonic() + seconds
        if not self._works:
            self._look()
        if by_design := self._silent_by_design():
            return Refused(by_design)
        proof = self._any_work(end, engine)
        if isinstance(proof, Missed) and (by_design := self._silent_by_design()):
            return Refused(by_design)
        return proof

    def besides(self, work: Work, seconds: float) -> Proof | None:
        """Ask a model that generates in another way; None when it cannot be asked so.

        A model without a chat template, and one that takes no picture, answer 400 (0.8..0.33).
        """
        if self._routes is not None and work.path not in self._routes:
            return None
        proof = self._one(work, seconds, "")
        return None if isinstance(proof, Refused) and proof.no_such_work else proof

    def by_adapter(self, adapter: str, work: Work, seconds: float) -> Proof:
        """Ask for the same work of a LoRA adapter, which is a model of that name."""
        return self._one(work, seconds, "", adapter)

    def without(self, switch: str, work: Work, model: str, seconds: float) -> Proof:
        """Ask for the work with this field of the request set to false."""
        return self._one(work, seconds, "", model, {switch: False})

    def _look(self) -> None:
        """Find out what the server can be asked for, and under which name."""
        routes = self.api.routes()
        self._routes = routes if isinstance(routes, frozenset) else None
        self._works = tuple(works_of(self._routes))
        models = self.api.models()
        if isinstance(models, tuple) and models and self.model not in [m.id for m in models]:
            self.model = models[0].id

    def _any_work(self, end: float, engine: str) -> Proof:
        refused: Refused | None = None
        for work in self._works or WORKS:
            proof = self._one(work, max(0.1, end - time.monotonic()), engine)
            if isinstance(proof, Refused) and proof.no_such_work:
                refused = refused or proof
                continue
            if isinstance(proof, Did):
                self._works = (work,)
            return proof
        return refused or Refused("the server has no route for work that llmagent knows")

    def _one(
        self,
        work: Work,
        seconds: float,
        engine: str,
        model: str = "",
        also: Mapping[str, object] = NOTHING_ELSE,
    ) -> Proof:
        began = time.monotonic()
        body = {**work.body(model or self.model), **also}
        sound = SILENCE if work.is_audio else None
        answer = self.api.ask(work.path, body, seconds, engine=engine, sound=sound)
        if isinstance(answer, ApiFailure):
            said = meaning(answer, has_key=self.api.access.key is not None)
            if sound is not None and isinstance(said, Refused) and AUDIO in said.why.lower():
                return replace(said, why=f"{said.why}{NO_AUDIO}")
            return said
        came = work.read(answer)
        if came is None:
            return Missed(f"{work.path} answered without a {work.item}")
        return Did(work, came, time.monotonic() - began)

    def _silent_by_design(self) -> str:
        """Return why the engine gives no tokens although it is well, "" when nothing says so."""
        for path, key, why in STATES:
            if self._routes is None or path in self._routes:
                match self.api.state(path):
                    case {**said} if said.get(key) is True:
                        return why
        if self._routes is None or RECOVERY in self._routes:
            match self.api.state(RECOVERY):
                case {"engines": [*engines]}:
                    for engine in engines:
                        status = engine.get("status") if isinstance(engine, dict) else None
                        if isinstance(status, str) and status.lower() not in ("healthy", "dead"):
                            return f"an engine is {status.lower()[:40]} and waits for its recovery"
        return ""


def meaning(failure: ApiFailure, *, has_key: bool) -> Refused | Missed:
    """Return what a failed request says of the engine."""
    status = failure.status or 0
    if failure.kind is FailureKind.UNTRUSTED:
        return Refused(failure.detail)
    if failure.kind is not FailureKind.HTTP_STATUS:
        gone = failure.kind in (FailureKind.REFUSED, FailureKind.BROKEN)
        return Missed(str(failure), away=gone, late=failure.kind is FailureKind.TIMEOUT)
    if status in NEEDS_A_KEY:
        return Refused(
            "the server refuses the key of api_key_file" if has_key else "needs a key: api_key_file"
        )
    if status == TOO_MANY:
        return Refused(str(failure), queue_full=True)
    if status == NOT_NOW or status in NO_SUCH_WORK or 400 <= status < 500:
        return Refused(str(failure), no_such_work=status in NO_SUCH_WORK)
    return Missed(str(failure))


def _silence() -> bytes:
    """Return a second of silence as a WAV file: 16,000 samples of 16 bits, one channel."""
    samples = bytes(2 * 16000)
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 16000, 32000, 2, 16)
    return (
        struct.pack("<4sI4s", b"RIFF", 4 + len(form) + 8 + len(samples), b"WAVE")
        + form
        + struct.pack("<4sI", b"data", len(samples))
        + samples
    )


SILENCE = _silence()
