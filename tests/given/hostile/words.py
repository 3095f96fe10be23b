# SPDX-License-Identifier: Apache-2.0
"""The ways in which a client of vLLM gets words into its log, each as the lines that are printed.

Forms of vLLM 0.6..0.32 and uvicorn; the words are put where the client's own stand.
"""

# ruff: noqa: E501
from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

API = "(APIServer pid=1) "
V0 = "ERROR 11-28 16:34:02 serving_chat.py:199] "
V1 = f"{API}ERROR 11-28 16:34:02 [serving.py:274] "
V1_INFO = f"{API}INFO 11-28 16:34:02 "


def _traceback(head: str, error: str, prefix: str = "") -> list[str]:
    lines = [
        *([head] if head else []),
        "Traceback (most recent call last):",
        '  File "/opt/vllm/lib/python3.12/site-packages/starlette/_exception_handler.py", line 42, in wrapped_app',
        "    await app(scope, receive, sender)",
        '  File "/opt/vllm/lib/python3.12/site-packages/vllm/entrypoints/openai/api_server.py", line 9, in create',
        "    raise ValueError(message)",
        *error.split("\n"),
    ]
    return [prefix + line for line in lines]


CHANNELS: dict[str, Callable[[str], list[str]]] = {
    "path": lambda w: [f'INFO:     127.0.0.1:52088 - "GET /{quote(w)} HTTP/1.1" 404 Not Found'],
    "raw path": lambda w: [f'INFO:     127.0.0.1:52088 - "GET /{w} HTTP/1.1" 404 Not Found'],
    "prefixed path": lambda w: [f'{API}INFO:     10.0.0.9:1 - "POST /{w} HTTP/1.1" 404 Not Found'],
    "coloured path": lambda w: [
        f'\x1b[32mINFO\x1b[0m:     10.0.0.9:1 - "\x1b[1mGET /{w} HTTP/1.1\x1b[0m" \x1b[31m404\x1b[0m'
    ],
    "logged path": lambda w: [
        f'INFO 11-28 16:34:02 [httptools_impl.py:478] 10.0.0.9:1 - "GET /{w} HTTP/1.1" 404'
    ],
    "forwarded-for": lambda w: [f'INFO:     {w}:0 - "GET /v1/models HTTP/1.1" 401 Unauthorized'],
    "model": lambda w: [
        f"{V1}Error with model error=ErrorInfo(message='The model `{w}` does not exist.', "
        "type='NotFoundError', param='model', code=404)"
    ],
    "bare model": lambda w: [
        "ERROR 11-28 16:34:02 [serving.py:274] Error with model error=ErrorInfo(message='The model "
        f"`{w}` does not exist.', type='NotFoundError', param=None, code=404)"
    ],
    "model of 0.6": lambda w: [
        f"{V0}Error with model object='error' message='The model `{w}` does"
    ],
    "prompt": lambda w: [
        f"{V1_INFO}[logger.py:43] Received request cmpl-1: prompt: {w!r}, params: SamplingParams("
        "n=1), prompt_token_ids: [1], lora_request: None."
    ],
    "prompt over lines": lambda w: [
        f"{V1_INFO}[logger.py:43] Received request cmpl-1: prompt: 'my log says",
        *w.split("\n"),
        "what is it?', params: SamplingParams(n=1), lora_request: None.",
    ],
    "prompt behind a return": lambda w: [
        f"{V1_INFO}[logger.py:43] Received request cmpl-1: prompt: 'x\r{w}\r', params: None"
    ],
    "request id": lambda w: [
        f"{V1_INFO}[logger.py:43] Received request cmpl-{w}-0: prompt: 'a', params: None",
        f"{V1_INFO}[async_llm.py:270] Added request cmpl-{w}-0.",
        f"{V1_INFO}[async_llm.py:410] Aborted request cmpl-{w}-0.",
    ],
    "preprocessing": lambda w: [
        f"{V1}Error in preprocessing prompt inputs",
        *_traceback("", f"ValueError: {w}", V1),
    ],
    "preprocessing of 0.6": lambda w: _traceback("Error in preprocessing", f"ValueError: {w}", V0),
    "validation": lambda w: [
        f"{API}WARNING 11-28 16:34:02 [protocol.py:82] The following fields were present: {{'{w}'}}"
    ],
    "asgi": lambda w: _traceback("ERROR:    Exception in ASGI application", f"ValueError: {w}"),
    "prefixed asgi": lambda w: _traceback(
        "ERROR:    Exception in ASGI application", f"ValueError: {w}", API
    ),
    "asgi over lines": lambda w: _traceback(
        "ERROR:    Exception in ASGI application", f"ValueError: bad input\n{w}\n{w}", API
    ),
    "unnamed traceback": lambda w: _traceback("", f"ValueError: {w}", API),
    "logged traceback": lambda w: _traceback(
        "Exception while handling",
        f"ValueError: {w}",
        f"{API}ERROR 11-28 16:34:02 [any_name.py:9] ",
    ),
    "quoted prefix": lambda w: _traceback(
        "ERROR:    Exception in ASGI application",
        f"ValueError: x ERROR 11-28 16:34:02 [core.py:9] {w}",
        API,
    ),
    "media": lambda w: [
        f"{API}WARNING 11-28 16:34:02 [connection.py:99] Failed to fetch http://h/{w}: 404",
        f"{API}ERROR 11-28 16:34:02 [utils.py:77] Failed to load image from {w}",
    ],
    "validation details": lambda w: [
        f"{API}ERROR 11-28 16:34:02 [api_server.py:1222] Request validation error: "
        f"[{{'type': 'missing', 'loc': ('body', '{w}'), 'input': '{w}'}}]"
    ],
    "scheduler": lambda w: [
        f"(EngineCore pid=42) INFO 11-28 16:34:02 [scheduler.py:1500] Request {w} finished by client",
    ],
    "printed": lambda w: [f"{API}Failed to apply prompt replacement for request: {w!r}"],
    "web socket": lambda w: [
        f'INFO:     127.0.0.1:9 - "WebSocket /v1/realtime?model={w}" [accepted]',
        f"{API}ERROR 11-28 16:34:02 [connection.py:60] Unhandled event type {w}",
    ],
    "lora": lambda w: [
        f"{API}ERROR 11-28 16:34:02 [serving_models.py:171] LoRA adapter '{w}' cannot be found.",
        f"{API}INFO 11-28 16:34:02 [serving_models.py:190] Loaded new LoRA adapter: name '{w}'",
    ],
    "group of exceptions": lambda w: [
        API + line
        for line in (
            "ERROR:    Exception in ASGI application",
            "  + Exception Group Traceback (most recent call last):",
            '  |   File "/o/starlette/middleware/base.py", line 1, in f',
            "  | ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)",
            "  +-+---------------- 1 ----------------",
            "    | Traceback (most recent call last):",
            f"    | ValueError: {w}",
            "    +------------------------------------",
        )
    ],
    "transfer of an engine": lambda w: [
        f"(EngineCore pid=42) WARNING 11-28 16:34:02 [mooncake_connector.py:310] No remote for {w}",
        f"(EngineCore pid=42) WARNING 11-28 16:34:02 [core.py:801] Dropping request {w}: too late",
    ],
    "warning of nobody": lambda w: [
        f"WARNING 11-28 16:34:02 [utils.py:300] tool name {w} not known",
    ],
    "haproxy": lambda w: [
        "10.1.2.3:4455 [28/Nov/2026:10:00:00.123] web~ vllm/s1 0/0/0/1/1 404 100 - - ---- "
        f'"GET /{w} HTTP/1.1"'
    ],
    "nginx": lambda w: [
        "2026/11/28 10:00:00 [error] 7#7: *1 upstream prematurely closed connection, client: "
        f'1.2.3.4, request: "POST /{w} HTTP/1.1", upstream: "http://x"'
    ],
    "error of a worker": lambda w: [
        f"(Worker_TP1 pid=55) WARNING 11-28 16:34:02 [worker_manager.py:120] LoRA {w} is not there",
        f"(Worker_TP1 pid=55) ERROR 11-28 16:34:02 [worker_manager.py:140] Adapter {w} is bad",
    ],
    "warning of Python": lambda w: [
        f"(EngineCore pid=42) /o/lib/python3.12/site-packages/x.py:3: UserWarning: pattern {w!r}",
    ],
    "trace of uvicorn": lambda w: [
        f"TRACE:    127.0.0.1:9 - ASGI [5] Started scope={{'path': '/{w}'}}",
    ],
}
"""By name: words to the lines that a server which is up prints of them."""

OF_NAMES = frozenset({"transfer of an engine", "warning of nobody", "error of a worker"})
"""Ways in which the name that a client gave a thing is printed, and never a prompt."""
