# SPDX-License-Identifier: Apache-2.0
"""Whatever a file or a runtime says: a table, or one error; and never a secret on a screen."""

import shlex
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.foreign.compose.services import engines_of_compose
from agent.core.foreign.found import Found, NoEngineError
from agent.core.foreign.inspected import engine_of_container
from agent.core.foreign.kube import engines_of_kube
from agent.core.foreign.quadlet import unit_of_container_file
from agent.core.foreign.table import table_of
from agent.core.foreign.unit import engine_of_unit, engine_of_words

SECRET = "hf_onlyfortheowner1234"
BASE = Found("x", (), {"A": "1"}, directory="/srv")
WORDS = st.sampled_from(
    [
        *("vllm", "serve", "org/m", "docker", "run", "podman", "-e", "-v", "-p", "--gpus", "all"),
        *("python3", "-m", "vllm.entrypoints.openai.api_server", "bash", "-c", "vllm serve org/m"),
        *("vllm/vllm-openai:v0.10.2", "/a:/b", "8000:8000", "--model", "--port", "--api-key"),
        *("--config", "x.yaml", "=", "--", "-", "'", "$A", "${B:-c}", "--mount", "type=bind,"),
        *("--served-model-name", "-tp", "2", "--max-model-len", "auto", "--gpus=device=0,1"),
        *(f"--hf-token={SECRET}", f"HF_TOKEN={SECRET}", f"--kv-transfer-config={SECRET}"),
    ]
)
SCALARS = st.none() | st.booleans() | st.integers() | WORDS | st.text(max_size=8)
KEYS = st.sampled_from(
    [
        *(
            "image",
            "command",
            "entrypoint",
            "environment",
            "env_file",
            "ports",
            "volumes",
            "deploy",
        ),
        *("resources", "reservations", "devices", "device_ids", "count", "gpus", "user", "target"),
        *("source", "container_name", "build", "Config", "HostConfig", "Mounts", "Env", "Cmd"),
        *("Entrypoint", "PortBindings", "8000/tcp", "DeviceRequests", "DeviceIDs", "Count", "Name"),
        *("NetworkMode", "Type", "Source", "Destination", "HostIp", "HostPort", "Image"),
        *("args", "env", "envFrom", "valueFrom", "volumeMounts", "mountPath", "hostPath", "limits"),
        *("securityContext", "capabilities", "nvidia.com/gpu", "memory", "containers", "name"),
    ]
)
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=25,
)
KEY = st.sampled_from(
    [
        "ExecStart",
        "Environment",
        "User",
        "[x",
        "",
        "Image",
        "Exec",
        "Volume",
        "PodmanArgs",
        "Secret",
    ]
)
few = settings(max_examples=60)


def unread(_file: str) -> None:
    """Return nothing: no file is there to be read."""


def shown(found: Found) -> str:
    taken = table_of(found)
    return repr((taken.table, taken.left))


@few
@given(st.lists(WORDS, max_size=14))
def test_any_line_is_a_table_or_one_error(words: list[str]) -> None:
    try:
        found = engine_of_words(BASE, tuple(words), unread)
    except NoEngineError:
        return
    assert SECRET not in shown(found)


@few
@given(st.lists(st.tuples(KEY, st.lists(WORDS, max_size=8))))
def test_any_unit_is_a_table_or_one_error(lines: list[tuple[str, list[str]]]) -> None:
    text = "\n".join(f"{key}={shlex.join(words)}" for key, words in lines)
    try:
        found = engine_of_unit("x@y.service", text, unread)
    except NoEngineError:
        return
    assert SECRET not in shown(found)


@few
@given(st.dictionaries(KEYS, ANYTHING, max_size=6))
def test_any_compose_file_is_tables_or_one_error(service: dict[str, Any]) -> None:
    try:
        engines = engines_of_compose([{"services": {"a": service}}], BASE, "docker", unread, unread)
    except NoEngineError:
        return
    assert all(SECRET not in shown(found) for found in engines)


@few
@given(st.dictionaries(KEYS, ANYTHING, max_size=6), st.dictionaries(KEYS, ANYTHING, max_size=4))
def test_any_pod_is_tables_or_one_error(container: dict[str, Any], pod: dict[str, Any]) -> None:
    spec = {**pod, "containers": [container, {"image": "vllm/vllm-openai", "args": ["org/m"]}]}
    try:
        engines = engines_of_kube([{"kind": "Pod", "spec": spec}, {"kind": "Job", **pod}], BASE)
    except NoEngineError:
        return
    assert all(SECRET not in shown(found) for found in engines)


@few
@given(st.lists(st.tuples(KEY, st.lists(WORDS, max_size=8))))
def test_any_container_file_is_a_table_or_one_error(lines: list[tuple[str, list[str]]]) -> None:
    text = "\n".join(f"{key}={shlex.join(words)}" for key, words in lines)
    unit, _ = unit_of_container_file(f"[Container]\n{text}", "/srv")
    try:
        found = engine_of_unit("x.service", unit, unread)
    except NoEngineError:
        return
    assert SECRET not in shown(found)


@few
@given(ANYTHING, ANYTHING, st.dictionaries(KEYS, ANYTHING, max_size=6))
def test_anything_that_inspect_says_is_a_table_or_one_error(
    config: Any, host: Any, more: dict[str, Any]
) -> None:
    said = {**more, "Config": config, "HostConfig": host}
    try:
        found = engine_of_container(said, more, "docker")
    except NoEngineError:
        return
    assert SECRET not in shown(found)
