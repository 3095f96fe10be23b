# SPDX-License-Identifier: Apache-2.0
"""A pod as Kubernetes and `podman kube play` take it: each of its containers that runs vLLM.

Names are those of the Kubernetes API, v1 (podman-kube-play(1) lists which of them podman heeds).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from agent.core.foreign.docker_line import RunLine
from agent.core.foreign.found import Container, Found, Left, Mount, NoEngineError, Port
from agent.core.foreign.of_container import engine_in
from agent.core.foreign.options import ON_THE_HOST, is_met
from agent.core.foreign.shapes import rows, table
from agent.core.numerals import MOST_CARDS, whole_number

SHARED = "/dev/shm"  # noqa: S108 - where a pod puts its shared memory
GPU = "nvidia.com/gpu"

_READ = frozenset(
    {
        *("name", "image", "command", "args", "env", "envFrom", "ports", "volumeMounts"),
        *("resources", "securityContext"),
    }
)
_OURS = frozenset(
    {
        *("imagePullPolicy", "livenessProbe", "readinessProbe", "startupProbe", "workingDir"),
        *("terminationMessagePath", "terminationMessagePolicy", "stdin", "stdinOnce", "tty"),
    }
)
_POD_READ = frozenset({"containers", "volumes", "hostNetwork", "securityContext"})
_POD_OURS = frozenset(
    {
        *("restartPolicy", "terminationGracePeriodSeconds", "hostIPC", "imagePullSecrets"),
        *("automountServiceAccountToken", "enableServiceLinks", "hostname", "schedulerName"),
    }
)
"""What the unit has of its own, or what has no meaning outside of a pod."""

_OF_A_CLUSTER = frozenset(
    {
        *("nodeSelector", "nodeName", "affinity", "tolerations", "topologySpreadConstraints"),
        *("priorityClassName", "runtimeClassName", "serviceAccountName", "serviceAccount"),
    }
)
_NO_KEY = "no key of agent.toml is like it"
_FROM_SECRET = "name the file that holds it with hf_token_file or api_key_file"  # noqa: S105
_EXPANDED = re.compile(r"\$\(([A-Za-z_][\w.-]*)\)")
_QUANTITY = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)([KMGT]i?|m)?")
_FACTORS = {"K": 1000, "M": 1000**2, "G": 1000**3, "T": 1000**4}
_FACTORS |= {f"{letter}i": 1 << (10 * power) for power, letter in enumerate("KMGT", 1)}


def is_kube(document: Mapping[str, Any]) -> bool:
    """Tell whether a document of YAML is one of the Kubernetes API's."""
    return isinstance(document.get("kind"), str) and "apiVersion" in document


def engines_of_kube(documents: Sequence[Mapping[str, Any]], base: Found) -> tuple[Found, ...]:
    """Return the vLLM containers of all pods in a file; raises NoEngineError for none."""
    found: list[Found] = []
    reasons: list[str] = []
    beside: list[Left] = []
    for document in documents:
        kind, spec = str(document.get("kind")), table(document.get("spec"))
        template = table(table(spec.get("template")).get("spec"))
        pod = template or (spec if kind == "Pod" else {})
        name = str(table(document.get("metadata")).get("name") or kind.lower())
        if not rows(pod.get("containers")):
            beside.append(Left(f"{kind} {name}", ON_THE_HOST if kind == "Service" else _NO_KEY))
            continue
        count = spec.get("replicas", 1)
        if template and isinstance(count, int) and count > 1:
            beside.append(Left(f"replicas: {count}", "a service of llmagent's is one engine"))
        found += _engines(name, pod, base, reasons)
    if not found:
        kinds = ", ".join(sorted({str(document.get("kind")) for document in documents}))
        raise NoEngineError("; ".join(reasons[:4]) or f"no container stands in it (kind: {kinds})")
    return (replace(found[0], left=(*found[0].left, *beside)), *found[1:])


def _engines(name: str, pod: Mapping[str, Any], base: Found, reasons: list[str]) -> Iterator[Found]:
    containers = [table(one) for one in rows(pod.get("containers"))]
    for container in containers:
        own = str(container.get("name") or name)
        called = name if len(containers) == 1 else own
        try:
            yield _engine(called, container, pod, base)
        except NoEngineError as error:
            reasons.append(f"{own}: {error}")


def _engine(name: str, container: Mapping[str, Any], pod: Mapping[str, Any], base: Found) -> Found:
    left: list[Left] = []
    environment = dict(_environment(container, left))
    limits = table(table(container.get("resources")).get("limits"))
    security = {**table(pod.get("securityContext")), **table(container.get("securityContext"))}
    mounts, options = [], []
    for item in _mounts(container, pod, left):
        if isinstance(item, Mount):
            mounts.append(item)
        else:
            options.append(item)
    options += (*_capabilities(security), *_limits(limits))
    box = Container(
        "podman",
        str(container.get("image", "")),
        mounts=tuple(mounts),
        ports=tuple(_ports(container)),
        host_network=pod.get("hostNetwork") is True,
        options=tuple(options),
    )
    line = RunLine(
        box,
        name,
        command=_words(container.get("args"), environment),
        entrypoint=_words(container.get("command"), environment),
        environment=tuple(environment.items()),
        gpus=tuple(_gpus(limits)),
        user=str(security.get("runAsUser", "")),
    )
    if security.get("privileged"):
        left.append(Left("privileged", 'vLLM needs no such rights; if it does: sandbox = "off"'))
    left += (Left(f"{key}:", _NO_KEY) for key in sorted(container.keys() - _READ - _OURS))
    for key in sorted(pod.keys() - _POD_READ - _POD_OURS):
        told = "it places a pod in a cluster" if key in _OF_A_CLUSTER else _NO_KEY
        left.append(Left(f"{key}:", told))
    for other in map(table, rows(pod.get("containers"))):
        if other is not container and "vllm" not in str(other.get("image")):
            told = "it shares the pod, and llmagent does not start it"
            left.append(Left(f"container {other.get('name')}", told))
    return engine_in(replace(base, name=name, left=tuple(left)), line)


def _words(value: object, environment: Mapping[str, str]) -> tuple[str, ...]:
    words = (str(word) for word in rows(value) if isinstance(word, str | int | float))
    return tuple(_EXPANDED.sub(lambda m: environment.get(m[1], m[0]), word) for word in words)


def _environment(container: Mapping[str, Any], left: list[Left]) -> Iterator[tuple[str, str]]:
    for item in map(table, rows(container.get("env"))):
        name, value = str(item.get("name", "")), item.get("value")
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            yield name, str(value)
        elif "valueFrom" in item:
            secret = "secretKeyRef" in table(item.get("valueFrom"))
            told = _FROM_SECRET if secret else "its value stands elsewhere: write it itself"
            left.append(Left(f"env {name}", told))
    for item in map(table, rows(container.get("envFrom"))):
        source = next((str(key) for key in item), "")
        left.append(Left(f"envFrom: {source}", "its variables stand elsewhere: write them"))


def _mounts(
    container: Mapping[str, Any], pod: Mapping[str, Any], left: list[Left]
) -> Iterator[Mount | str]:
    """Yield each place that the container sees; of its shared memory, the option that sizes it."""
    volumes = {str(table(one).get("name")): table(one) for one in rows(pod.get("volumes"))}
    for item in map(table, rows(container.get("volumeMounts"))):
        name, target = str(item.get("name")), str(item.get("mountPath", ""))
        volume = volumes.get(name, {})
        if "hostPath" in volume:
            below = f"/{item['subPath']}" if item.get("subPath") else ""
            path = f"{str(table(volume['hostPath']).get('path', '')).rstrip('/')}{below}"
            yield Mount(path, target, item.get("readOnly") is True)
        elif target == SHARED:
            size = _number(table(volume.get("emptyDir")).get("sizeLimit"))
            if size is not None and not is_met("--shm-size", str(int(size))):
                yield f"--shm-size={int(size)}"
        elif "persistentVolumeClaim" in volume:
            claim = table(volume["persistentVolumeClaim"]).get("claimName", name)
            yield Mount(str(claim), target, item.get("readOnly") is True)
        elif "emptyDir" not in volume:
            left.append(Left(f"volume {name} at {target}", "its files are not on this host"))


def _ports(container: Mapping[str, Any]) -> Iterator[Port]:
    for item in map(table, rows(container.get("ports"))):
        inside, outside = item.get("containerPort"), item.get("hostPort")
        if isinstance(inside, int) and isinstance(outside, int) and item.get("protocol") != "UDP":
            yield Port(inside, outside, str(item.get("hostIP") or Port(0, 0).host))


def _capabilities(security: Mapping[str, Any]) -> Iterator[str]:
    asked = table(security.get("capabilities"))
    for key, flag in (("add", "--cap-add"), ("drop", "--cap-drop")):
        yield from (f"{flag}={name}" for name in rows(asked.get(key)) if isinstance(name, str))


def _limits(limits: Mapping[str, Any]) -> Iterator[str]:
    if (memory := _number(limits.get("memory"))) is not None:
        yield f"--memory={int(memory)}"
    if (cores := _number(limits.get("cpu"))) is not None:
        yield f"--cpus={cores:g}"


def _gpus(limits: Mapping[str, Any]) -> Iterator[str]:
    """Yield indices: a count, or podman's names of CDI devices ("nvidia.com/gpu=0": 1)."""
    for name, count in limits.items():
        kind, equals, one = name.partition("=")
        if kind == GPU and equals and one != "all":
            yield one
        elif kind == GPU and not equals:
            yield from map(str, range(whole_number(str(count), MOST_CARDS) or 0))


def _number(quantity: object) -> float | None:
    """Read a quantity ("64Gi", "500m", 8); None for none."""
    found = _QUANTITY.fullmatch(str(quantity)) if isinstance(quantity, str | int | float) else None
    if found is None or isinstance(quantity, bool):
        return None
    factor = 0.001 if found[2] == "m" else _FACTORS.get(found[2] or "", 1)
    return float(found[1]) * factor
