# SPDX-License-Identifier: Apache-2.0
"""What the agent asks of engines, over real HTTP."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler

from agent.core.settings.service import Settings
from agent.core.state.actions import Canary
from agent.core.state.observations import CanaryDone
from agent.daemon.effectors.api import ApiEffector
from tests.given.fake_http import says, serving

COMPLETION = {"choices": [{"text": " a"}], "usage": {"completion_tokens": 1}}


def test_engines_of_a_host_that_does_not_begin_with_0_are_named_by_their_place() -> None:
    """With hybrid balancing vLLM refuses the label itself: "data_parallel_rank 9 is out of range
    [0, 2)" (0.16..0.33)."""
    asked_for: list[str] = []

    def reply(handler: BaseHTTPRequestHandler, asked: bytes) -> None:
        place = handler.headers.get("X-data-parallel-rank", "")
        asked_for.append(place)
        found = place in ("0", "1")
        says(json.dumps(COMPLETION if found else {}), 200 if found else 400)(handler, asked)

    with serving() as server:
        server.replies["GET /openapi.json"] = says('{"paths": {"/v1/completions": {}}}')
        server.replies["GET /v1/models"] = says('{"data": [{"id": "m"}]}')
        server.replies["POST /v1/completions"] = reply
        port = int(server.url.rpartition(":")[2])
        settings = Settings("vllm", "m", host="127.0.0.1", port=port)
        effector = ApiEffector(lambda: 0.0)
        done = effector.carry_out(Canary("vllm", "run", settings, 5.0, ("8", "9"), 8))
    assert isinstance(done, CanaryDone)
    assert sorted(asked_for) == ["0", "1"]
    assert done.answered
    assert done.missed == ()
