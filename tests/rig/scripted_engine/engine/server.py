# SPDX-License-Identifier: Apache-2.0
"""The HTTP side: vLLM's endpoints, and POST /scripted/cue."""

from __future__ import annotations

import argparse
import json
import os
import socket
import ssl
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from engine.cues import Serving
from engine.words import line

DEV_MODE = os.environ.get("VLLM_SERVER_DEV_MODE") == "1"
WORK = {"generate": "/v1/completions", "embed": "/v1/embeddings"}


class Server(ThreadingHTTPServer):
    """Bound at once, as vLLM binds before its engine starts; listens when that is ready."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.uds = arguments.uds
        if self.uds:
            self.address_family = socket.AF_UNIX
        super().__init__((arguments.host, arguments.port), Handler, bind_and_activate=False)
        self.quiet = set((arguments.disable_access_log_for_endpoints or "").split(","))
        self.server_bind()

    def server_bind(self) -> None:
        """Takes the port, or makes the socket with the mode that the umask leaves."""
        if self.uds:
            self.socket.bind(self.uds)
        else:
            super().server_bind()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Gives a client of the Unix socket the address that vLLM logs it with: none."""
        accepted, address = super().get_request()
        return accepted, address or ("", 0)

    def serve(self, serving: Serving) -> None:
        """Answers until shutdown."""
        self.serving = serving
        arguments = serving.arguments
        given = arguments.api_key or [os.environ.get("VLLM_API_KEY", "")]
        self.keys = {f"Bearer {key}" for key in given if key}
        self.server_activate()
        if arguments.ssl_certfile:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(arguments.ssl_certfile, arguments.ssl_keyfile)
            if arguments.ssl_ca_certs:
                context.load_verify_locations(arguments.ssl_ca_certs)
                context.verify_mode = ssl.VerifyMode(int(arguments.ssl_cert_reqs or 0))
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.serve_forever(poll_interval=0.05)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Server

    def locked(self) -> bool:
        """Answers 401 to who brings no key, below /v1 alone (vLLM 0.32, authenticate.py)."""
        server = self.server
        if not server.keys or not self.path.startswith("/v1"):
            return False
        if self.headers.get("Authorization") in server.keys:
            return False
        self.answer_json(401, {"error": "Unauthorized"})
        return True

    def do_GET(self) -> None:
        serving = self.server.serving
        if self.locked():
            return
        match self.path.split("?")[0]:
            case "/openapi.json":
                routes = [
                    "/health",
                    "/metrics",
                    "/version",
                    "/v1/models",
                    WORK[serving.scenario.task],
                ]
                routes += ["/is_paused"] if DEV_MODE else []
                self.answer_json(200, {"paths": {route: {} for route in routes}})
            case "/is_paused" if DEV_MODE:
                self.answer_json(200, {"is_paused": serving.paused})
            case "/health" | "/ping":
                self.answer(503 if serving.dead else 200, b"", "text/plain")
            case "/version":
                self.answer_json(200, {"version": "0.32.0"})
            case "/metrics":
                self.answer(200, serving.metrics().encode(), "text/plain; version=0.0.4")
            case "/v1/models":
                card = {
                    "id": serving.model,
                    "object": "model",
                    "created": int(time.time()),
                    "owned_by": "vllm",
                    "root": serving.arguments.model,
                    "parent": None,
                    "max_model_len": serving.memory.max_model_len,
                }
                self.answer_json(200, {"object": "list", "data": [card]})
            case _:
                self.answer_json(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        serving = self.server.serving
        if self.locked():
            return
        match self.path:
            case "/scripted/cue":
                self.answer_json(200, {"cue": body.get("cue")})
                serving.cue(body)
            case path if path == WORK[serving.scenario.task] and serving.paused:
                error = {
                    "message": "Generation is paused. Please retry after it resumes.",
                    "type": "ServiceUnavailableError",
                    "code": 503,
                }
                self.answer_json(503, {"error": error})
            case "/v1/completions" if serving.scenario.task == "generate":
                self.complete(body)
            case "/v1/embeddings" if serving.scenario.task == "embed":
                self.embed(body)
            case _:
                self.answer_json(404, {"detail": "Not Found"})

    def complete(self, body: dict[str, Any]) -> None:
        """Answers a completion once the engine has made its tokens."""
        serving = self.server.serving
        if body.get("model", serving.model) != serving.model:
            message = f"The model `{body['model']}` does not exist."
            self.answer_json(404, {"error": {"message": message, "code": 404}})
            return
        prompt = tokens_of(body.get("prompt", ""))
        wanted = int(body.get("max_tokens", 16))
        if len(prompt) + wanted > serving.memory.max_model_len:
            limit = f"This model's maximum context length is {serving.memory.max_model_len} tokens."
            self.answer_json(400, {"error": {"message": limit, "code": 400}})
            return
        rank = self.headers.get("X-data-parallel-rank") or serving.least_busy()
        if not serving.generate(prompt, wanted, int(rank)):
            gone = {"message": "EngineCore encountered an issue.", "code": 500}
            self.answer_json(500, {"error": gone})
            return
        usage = {
            "prompt_tokens": len(prompt),
            "completion_tokens": wanted,
            "total_tokens": len(prompt) + wanted,
        }
        if body.get("stream"):
            self.answer(200, stream_of(wanted, usage), "text/event-stream")
            return
        choice: dict[str, Any] = {"index": 0, "text": " word" * wanted, "finish_reason": "length"}
        if body.get("return_token_ids"):
            choice["token_ids"] = [7] * wanted
        self.answer_json(
            200,
            {
                "id": "cmpl-scripted",
                "object": "text_completion",
                "created": int(time.time()),
                "model": serving.model,
                "choices": [choice],
                "usage": usage,
            },
        )

    def embed(self, body: dict[str, Any]) -> None:
        """Answers an embedding once the engine has made it."""
        prompt = tokens_of(body.get("input", ""))
        if not self.server.serving.generate(prompt, 0):
            self.answer_json(500, {"error": {"message": "EngineCore encountered an issue."}})
            return
        embedding = [0.5, -0.5, 0.25, 0.125]
        data = [{"index": 0, "object": "embedding", "embedding": embedding}]
        usage = {"prompt_tokens": len(prompt), "total_tokens": len(prompt)}
        self.answer_json(200, {"object": "list", "data": data, "usage": usage})

    def answer_json(self, status: int, content: object) -> None:
        """Sends JSON."""
        self.answer(status, json.dumps(content).encode(), "application/json")

    def answer(self, status: int, body: bytes, kind: str) -> None:
        """Sends an answer; a client that has gone is no error."""
        try:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:  # noqa: ARG002
        if self.path.split("?")[0] in self.server.quiet:
            return
        status = {200: "200 OK", 503: "503 Service Unavailable"}.get(int(code), str(int(code)))
        host, port = self.client_address[:2]
        line(f'INFO:     {host}:{port} - "{self.requestline}" {status}')


def stream_of(tokens: int, usage: dict[str, int]) -> bytes:
    """Returns the events of a streamed completion, all at once."""
    chunks: list[dict[str, object]] = [{"choices": [{"text": " word"}]}] * tokens
    chunks.append({"choices": [], "usage": usage})
    return (
        b"".join(f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks)
        + b"data: [DONE]\n\n"
    )


def tokens_of(prompt: str | list[int] | list[str]) -> list[int]:
    """Returns a prompt as token ids; text has one token for four characters."""
    if isinstance(prompt, list) and all(isinstance(token, int) for token in prompt):
        return [int(token) for token in prompt]
    text = prompt if isinstance(prompt, str) else " ".join(map(str, prompt))
    return [hash(text[at : at + 4]) for at in range(0, len(text), 4)] or [0]
