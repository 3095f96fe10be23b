# SPDX-License-Identifier: Apache-2.0
"""What a script does beside starting vLLM is named with where it belongs, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.foreign.found import Found
from agent.core.foreign.scripts.beside import MOST_SHOWN
from agent.core.foreign.table import Imported, table_of
from agent.core.foreign.unit import engine_of_words

FILE = "/srv/llm/run.sh"
LINE = "exec /opt/v/bin/vllm serve org/m --port 8001"


def taken(script: str) -> Imported:
    base = Found("run", (), directory="/", home="/home/me")
    text = f"#!/bin/bash\n{script}\n"
    return table_of(engine_of_words(base, (FILE,), {FILE: text}.get))


def why(found: Imported, what: str) -> str:
    return next((left.why for left in found.left if f"`{what}" in left.what), "")


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("mkdir -p /data/cache", "must be there before"),
        ('sudo chown -R me: "$HF_HOME"', "must be there before"),
        ("cat >/etc/llm.json <<EOF\n{}\nEOF", "must be there before"),
        ("echo '* - memlock -1' >>/etc/security/limits.conf", "must be there before"),
        ("sysctl -w vm.swappiness=1", "sysctl.d"),
        ("sudo -n sysctl -p", "sysctl.d"),
        ("ulimit -n 65536", "its own limits"),
        ("nvidia-smi -pl 250", "[power]"),
        ("sudo nvidia-smi -i 0 -pm 1", "[power]"),
        ("nvidia-smi --lock-gpu-clocks=1200", "[power]"),
        ("sleep 20", "waits"),
        ("echo never >/sys/kernel/mm/transparent_hugepage/enabled", "at boot"),
        ("echo 3 | sudo tee /proc/sys/vm/drop_caches", "at boot"),
        ("modprobe nvidia_uvm", "at boot"),
        ("systemctl stop display-manager", "at boot"),
        ("pip install -U flashinfer", "must be there before"),
        ("git pull", "must be there before"),
        ("curl -fsSLo /srv/t.jinja http://h/t", "must be there before"),
        ("hf download org/m", "fetches the model"),
        ("pkill -f vllm", "of its own service"),
        ("docker rm -f llm", "its own container"),
        ("docker pull vllm/vllm-openai", "engine.pull"),
        ("/opt/site/prepare --now", "a unit"),
        ("python3 warm_up.py &", "a unit"),
    ],
)
def test_what_a_script_does_beside_is_named_with_where_it_belongs(
    statement: str, told: str
) -> None:
    found = taken(f"set -e\n{statement}\n{LINE}")
    first = statement.split("\n")[0].partition(" <<")[0].rstrip(" &")
    assert told in why(found, first[:20]), found.left
    assert found.table["model"] == "org/m"


@pytest.mark.parametrize(
    "statement",
    [
        "set -euo pipefail",
        'echo "mkdir is not run"',
        "log() {\n  echo \"$1\"\n}\nlog 'x'",
        "nvidia-smi",
        "nvidia-smi --query-gpu=name --format=csv",
        'if [ -z "$1" ]; then\n  echo usage >&2\n  exit 1\nfi',
        "until curl -s localhost:8000/health >/dev/null; do true; done",
        'case "$1" in\n  start|run) true ;;\n  *) exit 2 ;;\nesac',
        "trap 'rm -f x' EXIT",
        "kill -0 $PID",
        "docker logs -f llm",
        "cat <<EOF\nmkdir /shown\nsysctl shown\nEOF",
        "df -h /",
        'echo $! >"$LOG.pid"',
        'echo "started" >>"$LOG"',
        "if ! command -v tmux >/dev/null; then exit 1; fi",
        "export A=1 B=2",
        "> /var/log/x",
        "ps aux | grep vllm",
    ],
)
def test_what_changes_nothing_is_not_named(statement: str) -> None:
    found = taken(f"{statement}\n{LINE}")
    assert [left for left in found.left if left.what.startswith("`")] == []


def test_statements_of_one_kind_are_one_line_and_the_rest_is_counted() -> None:
    found = taken("\n".join(f"mkdir /d{n} 2>/dev/null || true" for n in range(9)) + f"\n{LINE}")
    (named,) = (left.what for left in found.left if left.what.startswith("`"))
    assert named == f"`mkdir /d0`; `mkdir /d1`; `mkdir /d2` and {9 - MOST_SHOWN} more"


def test_a_secret_of_such_a_statement_is_not_shown() -> None:
    found = taken(f"register --token hf_abcdefghijklmnopqrstuvwx\n{LINE}")
    assert why(found, "register")
    assert "hf_abcdefgh" not in repr(found.left)


@given(st.text("abc$'\"`\\ \n;&|<>(){}#=EOF-", max_size=60))
def test_any_text_before_the_line_is_read(text: str) -> None:
    try:
        found = taken(f"{text}\n{LINE}\n{LINE}")
    except ValueError:  # a quote that nothing ends takes the line along
        return
    assert len(found.left) < 40
