# SPDX-License-Identifier: Apache-2.0
"""Runs the verification list and the one-token requests of one service."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import assert_never

from agent.core.diagnosis.facts import Facts
from agent.core.engine.answers import Done, NoAnswer
from agent.core.settings.engine import Runtime
from agent.core.settings.service import Settings
from agent.core.state.actions import Canary, Verify
from agent.core.state.golden import answer_of
from agent.core.state.observations import CanaryDone, Observation, Verified
from agent.core.unit.environment import environment_of
from agent.core.verify.items import verify
from agent.core.verify.model_shape import sees, shape_of
from agent.daemon.clock import Clock
from agent.host.models.config import read_model_config
from agent.host.probes.port_holder import port_holder
from agent.host.vllm.config_file import options_file_or_none
from agent.host.vllm.proof import Did, Missed, Prober, Proof, Refused
from agent.host.vllm.reach import client_of
from agent.tasks.ask_vllm import collect

ApiAction = Verify | Canary

MOST_AT_ONCE = 64
"""Engines of one service that are asked at the same time."""


class ApiEffector:
    """Serves one lane; every request in it has a deadline."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._prober: tuple[str, Prober] | None = None

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
        prober = self._prober_of(action)
        hf_home = environment_of(running)["HF_HOME"]
        config = read_model_config(running.model, running.revision, hf_home)
        api = collect(prober.api, running, prober, sees=sees(config))
        checks = verify(
            action.policy.settings,
            action.policy.expect,
            action.facts or Facts(),
            api,
            running=running,
            shape=None if config is None else shape_of(config),
            options_file=options_file_or_none(running),
        )
        silence = api.work if isinstance(api.work, NoAnswer) else None
        broken = silence is not None and silence.broken
        return Verified(
            self._clock(),
            action.service,
            action.invocation_id,
            checks,
            not broken,
            "" if silence is None else silence.why,
            refused=silence.why if silence is not None and silence.refused else "",
            answer=None if api.answer is None else answer_of(api.answer),
            adapters={name: answer_of(did) for name, did in api.answers_of_adapters.items()},
            first_token_seconds=api.work.seconds if isinstance(api.work, Done) else None,
        )

    def _canary(self, action: Canary) -> Observation:
        began = self._clock()
        proofs = self._ask_each(action) if action.engines else (self._ask_any(action),)
        missed = [number for number, proof in enumerate(proofs) if isinstance(proof, Missed)]
        # A miss of one engine outweighs what the front end says of another.
        telling = next(
            (kind for kind in (Missed, Refused) if any(isinstance(p, kind) for p in proofs)), Did
        )
        first = next(proof for proof in proofs if isinstance(proof, telling))
        now = self._clock()
        return CanaryDone(
            now,
            action.service,
            action.invocation_id,
            isinstance(first, Did),
            now - began,
            "" if isinstance(first, Did) else first.why,
            refused=isinstance(first, Refused) and not first.queue_full,
            queue_full=isinstance(first, Refused) and first.queue_full,
            missed=tuple(action.engines[number] for number in missed) if action.engines else (),
        )

    def _ask_any(self, action: Canary) -> Proof:
        return self._prober_of(action).prove(action.deadline_seconds)

    def _ask_each(self, action: Canary) -> tuple[Proof, ...]:
        """Ask every engine named at the same time, so that one that hangs delays no other."""
        known = self._prober_of(action)

        def ask(engine: str) -> Proof:
            one = Prober(known.api.again(), known.model)
            return one.prove(action.deadline_seconds, str(int(engine) - action.first_engine))

        with ThreadPoolExecutor(min(len(action.engines), MOST_AT_ONCE)) as threads:
            return tuple(threads.map(ask, action.engines))

    def _prober_of(self, action: ApiAction) -> Prober:
        """Return what asks this run; what kind of work it does is found out once a run."""
        if self._prober is None or self._prober[0] != action.invocation_id:
            running = action.running
            name = running.served_model_name or running.model
            self._prober = (action.invocation_id, Prober(client_of(_trusted(running)), name))
        return self._prober[1]


def _trusted(running: Settings) -> Settings:
    """Return the settings without their key where somebody else listens on the service's port.

    Whoever takes the port while vLLM starts is asked in its place; with TLS or on a Unix socket he
    shows that he is not vLLM. Docker's engine listens from a control group of its daemon's.
    """
    is_known = running.uds is not None or running.speaks_tls
    if running.api_key_file is None or is_known or running.engine.runtime is Runtime.DOCKER:
        return running
    holder = port_holder(running.port)
    if holder is None or holder.unit == running.unit:
        return running
    return replace(running, api_key_file=None)
