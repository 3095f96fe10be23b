# SPDX-License-Identifier: Apache-2.0
"""Runs the verification list and the one-token requests of one service."""

from __future__ import annotations

from typing import assert_never

from agent.core.diagnosis.facts import Facts
from agent.core.engine.answers import Completion, NoAnswer
from agent.core.settings.service import Settings
from agent.core.state.actions import Canary, Verify
from agent.core.state.observations import CanaryDone, Observation, Verified
from agent.core.unit.environment import environment_of
from agent.core.verify.items import verify
from agent.core.verify.model_shape import shape_of
from agent.daemon.clock import Clock
from agent.host.models.config import read_model_config
from agent.host.vllm.api import ApiFailure, FailureKind, VllmApi, service_url
from agent.tasks.ask_vllm import collect

ApiAction = Verify | Canary

CANARY_PROMPT = (1,)
"""One token id that every vocabulary has, so that no tokenizer is involved."""


class ApiEffector:
    """Serves one lane; every request in it has a deadline."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def carry_out(self, action: ApiAction) -> Observation:
        """Ask the service and return what it said."""
        match action:
            case Verify():
                return self._verify(action)
            case Canary():
                return self._canary(action)
            case _:
                assert_never(action)

    def failed(self, action: ApiAction, detail: str) -> Observation:
        """Return what to tell when `carry_out` raised."""
        at = self._clock()
        match action:
            case Verify():
                return Verified(at, action.service, action.invocation_id, (), False, detail)
            case Canary():
                return CanaryDone(at, action.service, action.invocation_id, False, 0.0, detail)
            case _:
                assert_never(action)

    def _verify(self, action: Verify) -> Observation:
        running = action.running
        api = collect(_client(running), running)
        hf_home = environment_of(running)["HF_HOME"]
        config = read_model_config(running.model, running.revision, hf_home)
        checks = verify(
            action.policy.settings,
            action.policy.expect,
            action.facts or Facts(),
            api,
            running=running,
            shape=None if config is None else shape_of(config),
        )
        broken = isinstance(api.completion, NoAnswer) and api.completion.broken
        detail = api.completion.why if isinstance(api.completion, NoAnswer) else ""
        return Verified(
            self._clock(), action.service, action.invocation_id, checks, not broken, detail
        )

    def _canary(self, action: Canary) -> Observation:
        running = action.running
        began = self._clock()
        answer = _client(running).complete(
            running.served_model_name or running.model,
            CANARY_PROMPT,
            max_tokens=1,
            timeout=action.deadline_seconds,
        )
        answered = isinstance(answer, Completion) or _refused_by_the_front_end(answer)
        now = self._clock()
        detail = "" if isinstance(answer, Completion) else str(answer)
        return CanaryDone(now, action.service, action.invocation_id, answered, now - began, detail)


def _client(running: Settings) -> VllmApi:
    return VllmApi(service_url(running.host, running.port))


def _refused_by_the_front_end(answer: ApiFailure) -> bool:
    """Tell whether this request can prove nothing: a pooling model has no /v1/completions.

    429 is the answer of a full queue, which a hung engine has too.
    """
    status = answer.status or 0
    return answer.kind is FailureKind.HTTP_STATUS and 400 <= status < 500 and status != 429
