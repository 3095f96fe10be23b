# SPDX-License-Identifier: Apache-2.0
"""A small Hugging Face hub: the endpoints that huggingface_hub downloads from, with faults on cue.

    python -m tests.rig.hub PORT        serves ORG/MODEL of `made_up_model`, cued over HTTP

POST /_hub takes the fields of `Fault`, GET /_hub tells what was asked and sent.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT: Final = "c0ffee" + "0" * 34
MODEL: Final = "org/tiny"
CHUNK: Final = 1 << 16
REFUSALS: Final = {
    "gated": (403, "GatedRepo", "Access to model org/tiny is restricted"),
    "missing": (404, "RepoNotFound", "Repository not found"),
    "bad-token": (401, "", "Invalid credentials in Authorization header"),
    "rate-limit": (429, "", "Too Many Requests"),
    "broken": (503, "", "Service Unavailable"),
}


@dataclass
class Fault:
    """What the hub does from now on.

    refuse: a key of REFUSALS for files, and for all else too unless it is "gated". stall_after
    and cut_after: bytes of one answer after which nothing comes any more, or the line is closed.
    bytes_per_second: how fast files are sent; 0 is as fast as they go. corrupt: large files are of
    the right size and hold nothing but E; corrupt_small: small ones are so. etag, commit and name:
    what the hub says in the place of each file's hash, of the commit, and of one more file's name.
    """

    refuse: str = ""
    stall_after: int = 0
    cut_after: int = 0
    bytes_per_second: int = 0
    corrupt: bool = False
    corrupt_small: bool = False
    etag: str = ""
    commit: str = ""
    name: str = ""


@dataclass
class Hub:
    """One repository's files by name; `sent` counts the bytes of each, `asked` is every request."""

    files: Mapping[str, bytes]
    model: str = MODEL
    fault: Fault = field(default_factory=Fault)
    sent: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def serve(self, port: int = 0) -> ThreadingHTTPServer:
        """Listens on 127.0.0.1 and answers in threads, until what it returns is closed."""
        hub = self

        class Handler(_Handler):
            state = hub

        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server


def made_up_model(mib: int = 2, shards: int = 2) -> dict[str, bytes]:
    """Returns the files of a model whose weights are noise: nobody loads them."""
    names = [f"model-{n:05}-of-{shards:05}.safetensors" for n in range(1, shards + 1)]
    block = hashlib.sha512(b"noise").digest() * (1 << 14)
    files = {name: (name.encode() + block * mib)[: mib << 20] for name in names}  # a block is 1 MiB
    index = {"metadata": {}, "weight_map": {f"layer.{n}": name for n, name in enumerate(names)}}
    return {
        ".gitattributes": b"*.safetensors filter=lfs\n",
        "README.md": b"a model\n",
        "config.json": b'{"architectures": ["LlamaForCausalLM"], "model_type": "llama"}',
        "tokenizer.json": b"{}",
        "tokenizer_config.json": b"{}",
        "model.safetensors.index.json": json.dumps(index).encode(),
        "pytorch_model.bin": b"the same weights in the old format",
        "original/consolidated.00.pth": b"and in Meta's",
        **files,
    }


def is_large(name: str) -> bool:
    """Tells whether the hub keeps the file by its SHA-256, apart from git."""
    return name.endswith((".safetensors", ".bin", ".pth"))


def etag_of(name: str, content: bytes) -> str:
    """Returns the name of the file's blob: SHA-256 of a large file, git's SHA-1 of a small one."""
    if is_large(name):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        self.state.fault = Fault(**json.loads(self.rfile.read(length)))
        self._json(200, asdict(self.state.fault))

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def _answer(self) -> None:
        hub, url = self.state, urlsplit(self.path)
        path = unquote(url.path)
        if path == "/_hub":
            self._json(200, {"asked": hub.asked, "sent": hub.sent})
            return
        hub.asked.append(f"{self.command} {path}")
        is_file = f"/{hub.model}/resolve/" in path
        refuse = hub.fault.refuse
        if refuse and (is_file or refuse != "gated"):
            self._refuse(*REFUSALS[refuse])
        elif path.startswith(f"/api/models/{hub.model}/revision/") or path == (
            f"/api/models/{hub.model}"
        ):
            self._json(200, self._info())
        elif path.startswith(f"/api/models/{hub.model}/tree/"):
            self._json(200, [self._entry(name, body) for name, body in hub.files.items()])
        elif is_file and (name := path.split("/resolve/")[1].partition("/")[2]) in hub.files:
            self._file(name, hub.files[name])
        elif hub.model in path:
            self._refuse(404, "EntryNotFound", "Entry not found")
        else:
            self._refuse(*REFUSALS["missing"])

    def _info(self) -> dict[str, Any]:
        blobs = parse_qs(urlsplit(self.path).query).get("blobs")
        siblings: list[dict[str, Any]] = []
        for name, body in self.state.files.items():
            entry = self._entry(name, body)
            if is_large(name):
                entry["lfs"]["sha256"] = entry["lfs"]["oid"]
            more = {"size": len(body), "blobId": entry["oid"]} if blobs else {}
            more |= {"lfs": entry["lfs"]} if blobs and is_large(name) else {}
            siblings.append({"rfilename": name, **more})
        if self.state.fault.name:
            siblings.append({"rfilename": self.state.fault.name, "size": 9, "blobId": "0" * 40})
        return {
            "id": self.state.model,
            "modelId": self.state.model,
            "sha": self.state.fault.commit or COMMIT,
            "private": False,
            "siblings": siblings,
            "tags": [],
            "downloads": 0,
            "likes": 0,
        }

    def _entry(self, name: str, body: bytes) -> dict[str, Any]:
        pointer = hashlib.sha1(name.encode()).hexdigest()
        oid = etag_of(name, body)
        entry: dict[str, Any] = {"type": "file", "path": name, "size": len(body), "oid": oid}
        if is_large(name):
            lfs = {"oid": oid, "size": len(body), "pointerSize": 135}
            entry |= {"oid": pointer, "lfs": lfs}
        return entry

    def _file(self, name: str, body: bytes) -> None:
        begin = 0
        wanted = self.headers.get("Range", "")
        if wanted.startswith("bytes="):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            begin = int(first)
            body = body[begin : int(last) + 1 if last else None]
        self.send_response(206 if wanted else 200)
        etag = self.state.fault.etag or etag_of(name, self.state.files[name])
        self.send_header("ETag", f'"{etag}"')
        self.send_header("X-Repo-Commit", self.state.fault.commit or COMMIT)
        self.send_header("X-Linked-Size", str(len(self.state.files[name])))
        self.send_header("X-Linked-ETag", f'"{etag}"')
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(body)))
        if wanted:
            whole = len(self.state.files[name])
            self.send_header("Content-Range", f"bytes {begin}-{begin + len(body) - 1}/{whole}")
        self.end_headers()
        if self.command == "GET":
            fault = self.state.fault
            bad = fault.corrupt if is_large(name) else fault.corrupt_small
            self._send(name, b"E" * len(body) if bad else body)

    def _send(self, name: str, body: bytes) -> None:
        out = 0
        while out < len(body):
            fault = self.state.fault
            if fault.cut_after and out >= fault.cut_after:
                self.close_connection = True
                return
            while self.state.fault.stall_after and out >= self.state.fault.stall_after:
                time.sleep(0.05)
            piece = body[out : out + CHUNK]
            try:
                self.wfile.write(piece)
            except OSError:
                self.close_connection = True
                return
            out += len(piece)
            self.state.sent[name] = self.state.sent.get(name, 0) + len(piece)
            if fault.bytes_per_second:
                time.sleep(len(piece) / fault.bytes_per_second)

    def _refuse(self, status: int, code: str, message: str) -> None:
        headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self._json(status, {"error": message}, headers)

    def _json(self, status: int, document: object, headers: Mapping[str, str] = {}) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-Repo-Commit", COMMIT)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


if __name__ == "__main__":
    Hub(made_up_model(mib=30)).serve(int(sys.argv[1]))
    threading.Event().wait()
