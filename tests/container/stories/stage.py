# SPDX-License-Identifier: Apache-2.0
"""A machine on which a person types: what is said, and what is printed held against its schema."""

from __future__ import annotations

import json
import shlex
import subprocess
from functools import cache
from typing import Any

from jsonschema import Draft7Validator

from tests.rig import scripted
from tests.rig.container import Container
from tests.rig.installed import CONFIG, OURS, Agent, service_table
from tests.rig.nvsim import MachineGpus

MODEL = "/models/llama"
LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
    "torch_dtype": "bfloat16",
}
"""A model of 1.2 billion parameters, as its config.json tells it."""
KV_BYTES = 2 * 16 * 8 * 64 * 2
"""Of one token of it: keys and values, layers, heads, their size, two bytes."""

UNIT = "/etc/systemd/system/vllm.service"
OWN = "/root/agent.toml"
FOREIGN = f"""[Unit]
Description=mine
[Service]
ExecStart={scripted.PYTHON} -m vllm.entrypoints.openai.api_server --model /srv/llama \\
  --host 127.0.0.1 --port 8000 --max-model-len 4096
[Install]
WantedBy=multi-user.target
"""
"""A unit as somebody writes it who has never heard of llmagent."""


class Stage(Agent):
    """The installed agent with eight H200s, and a person's shell."""

    def __init__(self, box: Container) -> None:
        super().__init__(box)
        self.gpus = MachineGpus(box)
        self.gpus.install(*["h200"] * 8)
        self.schema = cache(self._schema)

    def types(self, line: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Runs a line in a shell without a terminal."""
        return self.box.run(["bash", "-c", line], check=False, timeout=timeout)

    def says(self, line: str, status: int = 0, timeout: float = 60) -> str:
        """Returns all that a line prints; it ends with `status`."""
        done = self.types(line, timeout)
        said = done.stdout + done.stderr
        assert done.returncode == status, f"{line}: {done.returncode}, not {status}\n{said}"
        return said

    def shows(self, line: str, typed: str = "", columns: int = 80, rows: int = 24) -> str:
        """Returns what a line shows on a terminal of that size, on which `typed` is typed."""
        there = f"stty cols {columns} rows {rows}; {line}"
        argv = ["script", "--quiet", "--command", f"bash -c {shlex.quote(there)}", "/dev/null"]
        done = self.box.run(argv, input=typed, env={"TERM": "xterm", "NO_COLOR": "1"}, check=False)
        return done.stdout.replace("\r\n", "\n")

    def json(self, *words: str, status: int | None = 0, timeout: float = 120) -> list[Any]:
        """Returns the documents that a command prints; each is as the shipped schema says."""
        name = words[0] if "--hosts" not in words else "status-hosts"
        asked = [words[0], "--format", "json", *words[1:]]
        done = self.box.run(["llmagent", *asked], check=False, timeout=timeout)
        assert status in (None, done.returncode), (words, done.returncode, done.stderr)
        lines = done.stdout.splitlines() if name == "events" else [done.stdout]
        documents = [json.loads(line) for line in lines]
        assert documents, (words, done.stderr)
        for document in documents:
            wrong = [str(error.message)[:300] for error in self.schema(name).iter_errors(document)]
            assert wrong == [], words
        return documents

    def _schema(self, name: str) -> Draft7Validator:
        return Draft7Validator(json.loads(self.box.read(f"/usr/share/llmagent/schema/{name}.json")))

    def give_a_known_model(self) -> None:
        """Makes MODEL, whose shape the planner can read."""
        self.box.write(f"{MODEL}/config.json", json.dumps(LLAMA))
        self.says(f"cp /srv/llama/model.safetensors /srv/llama/tokenizer.json {MODEL}")

    def serve(self, **settings: Any) -> int:
        """Has one service serve; returns its process."""
        scripted.set_scenario(self.box, {})
        self.configure(service_table(**{**OURS, **settings}))
        self.wait("serving")
        return self.pid("vllm")

    def serve_foreign(self) -> int:
        """Starts an engine by somebody else's unit vllm.service; returns its process."""
        scripted.set_scenario(self.box, {})
        self.box.write(UNIT, FOREIGN)
        self.says("systemctl daemon-reload; systemctl -q enable --now vllm")
        self.box.wait_for(lambda: self.box.http_get(8000, "/health").status == 200, 20, "/health")
        return self.pid("vllm")

    def end_foreign(self) -> None:
        """Takes such a unit, or a mask, away."""
        self.types("systemctl -q disable --now vllm")
        self.says(f"rm -f {UNIT}; systemctl daemon-reload; systemctl stop vllm || true")

    def write(self, *tables: str) -> None:
        """Writes agent.toml, and no more."""
        self.box.write(CONFIG, "\n".join(tables))
