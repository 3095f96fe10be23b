# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler

import pytest

from agent.core.engine.answers import Completion, Done, NoAnswer, PrefixProbe
from agent.core.settings.service import Settings
from agent.core.verify.check import Verdict
from agent.core.verify.served import work
from agent.host.vllm.api import VllmApi
from agent.tasks.ask_vllm import collect
from tests.given.fake_http import FakeServer, says, serving, unused_port

ASKED = Settings(name="vllm", model="llama")


@dataclass
class Engine:
    """Counts like vLLM: hits are whole blocks of an earlier prompt, never its last token."""

    block: int = 16
    caching: bool = True
    answered: int = 0
    hits: int = 0
    foreign: int = 0
    prompts: list[object] = field(default_factory=list)

    def metrics(self, handler: BaseHTTPRequestHandler, asked: bytes) -> None:
        text = (
            f'vllm:num_requests_running{{engine="0"}} 0.0\n'
            f"vllm:prefix_cache_hits_total {self.hits}\n"
            f"vllm:request_success_total {self.answered}\n"
            f'vllm:cache_config_info{{block_size="{self.block}"}} 1.0\n'
        )
        says(text, kind="text/plain")(handler, asked)

    def complete(self, handler: BaseHTTPRequestHandler, asked: bytes) -> None:
        prompt = json.loads(asked)["prompt"]
        if self.caching and prompt in self.prompts:
            self.hits += (len(prompt) - 1) // self.block * self.block
        self.prompts.append(prompt)
        self.answered += 1 + self.foreign
        usage = {"prompt_tokens": len(prompt), "completion_tokens": 1}
        choice = {"text": " Paris", "finish_reason": "length"}
        says(json.dumps({"choices": [choice], "usage": usage}))(handler, asked)


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def server(engine: Engine) -> Iterator[FakeServer]:
    with serving() as fake:
        models = {"data": [{"id": "llama", "root": "llama", "max_model_len": 1024}]}
        fake.replies.update(
            {
                "GET /version": says('{"version":"0.32.0"}'),
                "GET /v1/models": says(json.dumps(models)),
                "GET /metrics": engine.metrics,
                "POST /v1/completions": engine.complete,
            }
        )
        yield fake


def api(server: FakeServer) -> VllmApi:
    return VllmApi(server.url, connect_seconds=0.5, read_seconds=1.0)


def test_a_live_server_answers_every_question(server: FakeServer) -> None:
    facts = collect(api(server), ASKED)
    assert facts.version == "0.32.0"
    assert facts.cache_config["block_size"] == "16"
    assert isinstance(facts.completion, Completion)
    assert facts.completion.text == " Paris"
    assert facts.prefix == PrefixProbe(48, hits_before=0, hits_after=32, others=False)
    assert facts.answered


@pytest.mark.parametrize(
    ("version", "asks"),
    [("0.6.3", False), ("0.10.1.1", False), ("0.10.2", True), ("0.33.0rc1", True), ("odd", False)],
)
def test_token_ids_are_asked_of_releases_that_know_them_as_others_refuse_the_request(
    server: FakeServer, version: str, asks: bool
) -> None:
    server.replies["GET /version"] = says(json.dumps({"version": version}))
    collect(api(server), ASKED)
    bodies = [json.loads(body) for path, body in server.asked if path.endswith("/v1/completions")]
    assert any("return_token_ids" in body for body in bodies) is asks


def test_an_engine_without_a_prefix_cache_shows_no_hits(server: FakeServer, engine: Engine) -> None:
    engine.caching = False
    assert collect(api(server), ASKED).prefix == PrefixProbe(48, 0, 0, others=False)


@dataclass
class Replicas:
    """Two engines, each with a cache of its own: by turns, or as the header names them."""

    knows_the_header: bool = True
    caching: bool = True
    first_label: int = 0
    answered: list[int] = field(default_factory=lambda: [0, 0])
    hits: list[int] = field(default_factory=lambda: [0, 0])
    prompts: list[list[object]] = field(default_factory=lambda: [[], []])

    def metrics(self, handler: BaseHTTPRequestHandler, asked: bytes) -> None:
        text = 'vllm:cache_config_info{block_size="16"} 1.0\n'
        for place in (0, 1):
            label = f'{{engine="{self.first_label + place}"}}'
            text += f"vllm:num_requests_running{label} 0.0\n"
            text += f"vllm:prefix_cache_hits_total{label} {self.hits[place]}\n"
            text += f"vllm:request_success_total{label} {self.answered[place]}\n"
            text += f"vllm:generation_tokens_total{label} {self.answered[place]}\n"
        says(text, kind="text/plain")(handler, asked)

    def complete(self, handler: BaseHTTPRequestHandler, asked: bytes) -> None:
        named = handler.headers.get("X-data-parallel-rank")
        by_turns = named is None or not self.knows_the_header
        place = sum(self.answered) % 2 if by_turns else int(named or "0")
        prompt = json.loads(asked)["prompt"]
        if self.caching and prompt in self.prompts[place]:
            self.hits[place] += (len(prompt) - 1) // 16 * 16
        self.prompts[place].append(prompt)
        self.answered[place] += 1
        usage = {"prompt_tokens": len(prompt), "completion_tokens": 1}
        choice = {"text": " Paris", "finish_reason": "length"}
        says(json.dumps({"choices": [choice], "usage": usage}))(handler, asked)


@pytest.mark.parametrize("first_label", [0, 8])
@pytest.mark.parametrize("caching", [True, False])
def test_a_prompt_that_comes_twice_goes_to_one_engine_of_several(
    server: FakeServer, first_label: int, caching: bool
) -> None:
    two = Replicas(first_label=first_label, caching=caching)
    server.replies |= {"GET /metrics": two.metrics, "POST /v1/completions": two.complete}
    prefix = collect(api(server), ASKED).prefix
    assert prefix == PrefixProbe(48, 0, 32 if caching else 0, others=False)


def test_engines_that_cannot_be_named_are_no_proof_of_a_cache_that_is_off(
    server: FakeServer,
) -> None:
    two = Replicas(knows_the_header=False)
    server.replies |= {"GET /metrics": two.metrics, "POST /v1/completions": two.complete}
    prefix = collect(api(server), ASKED).prefix
    assert isinstance(prefix, NoAnswer)
    assert not prefix.broken


def test_requests_of_other_clients_are_noticed(server: FakeServer, engine: Engine) -> None:
    engine.foreign = 1
    prefix = collect(api(server), ASKED).prefix
    assert isinstance(prefix, PrefixProbe)
    assert prefix.others


def test_the_prompt_is_long_enough_for_the_engines_blocks(
    server: FakeServer, engine: Engine
) -> None:
    engine.block = 128
    assert collect(api(server), ASKED).prefix == PrefixProbe(384, 0, 256, others=False)


def test_a_block_longer_than_the_context_cannot_be_probed(
    server: FakeServer, engine: Engine
) -> None:
    engine.block = 1568
    prefix = collect(api(server), ASKED).prefix
    assert isinstance(prefix, NoAnswer)
    assert not prefix.broken


def test_a_server_that_is_away_is_not_a_broken_one() -> None:
    facts = collect(VllmApi(f"http://127.0.0.1:{unused_port()}", connect_seconds=0.5), ASKED)
    assert isinstance(facts.completion, NoAnswer)
    assert not facts.completion.broken
    assert not facts.answered


@pytest.mark.parametrize(
    ("status", "broken"),
    [(500, True), (502, True), (503, False), (400, False), (401, False), (404, False)],
)
def test_a_server_error_is_broken_and_a_refusal_of_the_front_end_is_not(
    server: FakeServer, status: int, broken: bool
) -> None:
    server.replies["POST /v1/completions"] = says('{"error":{"message":"no"}}', status)
    facts = collect(api(server), ASKED)
    assert isinstance(facts.completion, NoAnswer)
    assert facts.completion.broken is broken
    assert isinstance(facts.prefix, NoAnswer)


CHATS = "POST /v1/chat/completions"
REPLY = json.dumps(
    {
        "choices": [{"message": {"role": "assistant", "content": None}, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 1},
    }
)


def test_a_model_that_generates_is_asked_by_chat_too_and_with_a_picture_where_it_sees(
    server: FakeServer,
) -> None:
    server.replies[CHATS] = says(REPLY)
    besides = collect(api(server), ASKED, sees=True).besides
    assert list(besides) == ["chat", "image"]
    assert all(isinstance(answer, Done) for answer in besides.values())
    chats = [
        json.loads(body) for path, body in server.asked if path.endswith("/v1/chat/completions")
    ]
    parts = [chat["messages"][0]["content"] for chat in chats]
    assert parts[0] == "The capital of France is"
    head, _, picture = parts[1][1]["image_url"]["url"].partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(picture).startswith(b"\x89PNG")


@pytest.mark.parametrize("status", [400, 404, 501])
def test_a_model_without_a_chat_template_has_no_item_for_it(
    server: FakeServer, status: int
) -> None:
    server.replies[CHATS] = says('{"error":{"message":"no chat template"}}', status)
    assert collect(api(server), ASKED, sees=True).besides == {}


def test_a_chat_that_breaks_the_server_is_no_answer(server: FakeServer) -> None:
    server.replies[CHATS] = says('{"error":{"message":"EngineCore"}}', 500)
    answer = collect(api(server), ASKED).besides["chat"]
    assert isinstance(answer, NoAnswer)
    assert answer.broken


def test_the_questions_besides_come_after_those_that_are_counted(
    server: FakeServer, engine: Engine
) -> None:
    def chat(handler: BaseHTTPRequestHandler, asked: bytes) -> None:
        engine.answered += 1
        says(REPLY)(handler, asked)

    server.replies[CHATS] = chat
    facts = collect(api(server), ASKED, sees=True)
    assert facts.prefix == PrefixProbe(48, hits_before=0, hits_after=32, others=False)


def test_a_model_that_scores_is_asked_for_a_ranking_too(server: FakeServer) -> None:
    for other in ("/v1/completions", "/v1/embeddings"):
        server.replies[f"POST {other}"] = says('{"error":{"message":"not supported"}}', 400)
    server.replies["POST /score"] = says('{"data":[{"index":0,"score":0.5}]}')
    server.replies["POST /rerank"] = says(
        '{"results":[{"index":0,"relevance_score":0.9},{"index":1,"relevance_score":0.1}]}'
    )
    facts = collect(api(server), ASKED)
    assert isinstance(facts.work, Done)
    assert facts.work.item == "score"
    ranked = facts.besides["rerank"]
    assert isinstance(ranked, Done)
    assert ranked.values == (0.9, 0.1)
    server.replies["POST /rerank"] = says('{"results":[]}')
    assert facts.engines == ("0",)
    empty = collect(api(server), ASKED).besides["rerank"]
    assert isinstance(empty, NoAnswer)
    assert empty.broken


def test_an_adapter_that_is_asked_for_and_listed_does_the_models_work(server: FakeServer) -> None:
    listed = [{"id": name} for name in ("llama", "sql")]
    server.replies["GET /v1/models"] = says(json.dumps({"data": listed}))
    lora = ("--enable-lora", "--lora-modules", "sql=/srv/sql", "gone=/srv/gone")
    did = collect(api(server), replace(ASKED, extra_args=lora)).adapters
    assert list(did) == ["sql"]
    assert isinstance(did["sql"], Completion)
    path, body = server.asked[-1]
    assert path.endswith("/v1/completions")
    asked = json.loads(body)
    assert (asked["model"], asked["max_tokens"], asked["return_token_ids"]) == ("sql", 16, True)
    assert collect(api(server), ASKED).adapters == {}


def test_what_adapters_answer_amid_other_work_is_no_answer_to_keep(server: FakeServer) -> None:
    said = Completion(" Paris", 6, 2, "length", 0.1)
    facts = replace(collect(api(server), ASKED), adapters={"sql": said, "de": NoAnswer("late")})
    assert facts.answers_of_adapters == {"sql": said}
    assert replace(facts, alone=False).answers_of_adapters == {}


def scoring(heeds: str, logit: float = 8.0) -> Callable[[BaseHTTPRequestHandler, bytes], None]:
    """Returns what answers /score, without the activation where this field is false."""

    def answer(handler: BaseHTTPRequestHandler, asked: bytes) -> None:
        raw = json.loads(asked).get(heeds) is False
        score = logit if raw else 1 / (1 + math.exp(-logit))
        says(json.dumps({"data": [{"index": 0, "score": score}]}))(handler, asked)

    return answer


@pytest.mark.parametrize(
    ("version", "heeds", "logits"),
    [
        ("0.9.2", "", ()),
        ("0.10.1.1", "activation", (8.0,)),
        ("0.11.0", "activation", (8.0,)),
        ("0.11.1", "use_activation", (8.0,)),
        ("0.33.0", "use_activation", (8.0,)),
        ("0.33.0", "nothing", ()),
        ("0.1.dev7+g0", "use_activation", ()),
    ],
)
def test_a_score_is_asked_for_without_its_activation_as_the_release_takes_it(
    server: FakeServer, version: str, heeds: str, logits: tuple[float, ...]
) -> None:
    server.replies["GET /version"] = says(json.dumps({"version": version}))
    for other in ("/v1/completions", "/v1/embeddings"):
        server.replies[f"POST {other}"] = says('{"error":{"message":"not supported"}}', 400)
    server.replies["POST /score"] = scoring(heeds)
    facts = collect(api(server), ASKED)
    assert isinstance(facts.work, Done)
    assert facts.work.logits == logits
    assert facts.work.values[0] == pytest.approx(0.99966, abs=1e-5)
    assert facts.answer == facts.work


def test_an_embedding_and_a_score_without_activation_are_asked_for_once(server: FakeServer) -> None:
    refuses = says('{"error":{"message":"not supported"}}', 400)
    server.replies["POST /v1/completions"] = refuses
    server.replies["POST /v1/embeddings"] = says('{"data":[{"embedding":[0.6,0.8]}]}')
    collect(api(server), ASKED)
    assert [path for path, _ in server.asked].count("POST /v1/embeddings") == 1
    server.replies["POST /v1/embeddings"] = refuses
    server.replies["POST /score"] = says('{"data":[{"index":0,"score":-3.2}]}')
    facts = collect(api(server), ASKED)
    assert [path for path, _ in server.asked].count("POST /score") == 1
    assert isinstance(facts.work, Done)
    assert facts.work.logits == (-3.2,)


def test_an_answer_that_is_only_late_contradicts_nothing() -> None:
    with serving() as server:
        server.replies["GET /v1/models"] = says('{"data": [{"id": "llama"}]}')
        server.replies["POST /v1/completions"] = lambda _handler, _asked: time.sleep(1.5)
        api = VllmApi(server.url, connect_seconds=0.5, read_seconds=0.5)
        facts = collect(api, ASKED, seconds=0.5)
    assert isinstance(facts.work, NoAnswer), facts.work
    assert (facts.work.broken, facts.work.refused) == (False, False), facts.work
    assert work(facts).verdict is Verdict.UNKNOWN
