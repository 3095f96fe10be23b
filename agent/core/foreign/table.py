# SPDX-License-Identifier: Apache-2.0
"""An engine that was found, as the keys of a [service.NAME] table; what has no place is named."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from typing import Any

from agent.core.command.escapes import ESCAPES
from agent.core.command.given import Given, read_words
from agent.core.command.parallel import spans_hosts
from agent.core.command.picture import Picture, file_arguments
from agent.core.command.values import AUTO
from agent.core.engine.command_line import FLAGS
from agent.core.foreign.found import Container, Found, Left
from agent.core.foreign.of_container import DEFAULT_PORT
from agent.core.numerals import MOST_CARDS, whole_number
from agent.core.record import dataclass
from agent.core.secrets import without_secrets
from agent.core.settings.cluster import OPTIONS, ClusterSettings

EVERYWHERE = "0.0.0.0"  # noqa: S104 - where vLLM listens when nobody says
SECRETS = "/etc/llmagent"  # where a secret gets a file of its own

_HUBS = ("HF_HOME", "HF_HUB_CACHE")
_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_CARDS = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")
_PATHS = ("model", "tokenizer", "chat_template")
_NO_GPU = frozenset({"", "-1", "none", "void", "NoDevFiles"})
_QUIET = frozenset({"NVIDIA_DRIVER_CAPABILITIES", "NVIDIA_REQUIRE_CUDA", "CUDA_DEVICE_ORDER"})
_INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
_SERVICE_NAME = re.compile(r"[^A-Za-z0-9_-]+")
_ORDER = tuple(FLAGS)
_WRITTEN = re.compile(
    r"(?:^|_)(?:DIRS?|DIRECTORY|ROOT|BASE|CACHE|HOME|DUMPS?|OUTPUT|TRACES?|LOGS?|STORAGE)(?:_|$)"
)
"""Names of variables whose directory is written to, as TRITON_CACHE_DIR or VLLM_CACHE_ROOT."""


@dataclass(slots=True)
class Imported:
    """A table, what was left out, and secrets: the content of each file that the table names."""

    name: str
    table: dict[str, Any] = field(default_factory=dict)
    left: list[Left] = field(default_factory=list)
    secrets: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

    def leave(self, what: str, why: str) -> None:
        """Name something that is not carried over; a secret in it is not shown."""
        self.left.append(Left(without_secrets(what), without_secrets(why)))


def table_of(
    found: Found, config_file: Mapping[str, Any] | None = None, name: str | None = None
) -> Imported:
    """Return the table; `config_file` is what stands in the file of vLLM's --config.

    Its keys are taken out of that file, so that all of a service stands in agent.toml.
    """
    whole = Imported(name or service_name(found.name))
    for one in found.left:
        whole.leave(one.what, one.why)
    read = read_words(found.words)
    for mistake in read.mistakes:
        whole.leave("the command line", mistake)
    inside = file_arguments(config_file or {})
    model = () if read.model is None else (Given("model", read.model, read.model),)
    last = {given.name: given for given in (*inside.options, *model, *read.options)}
    environment = dict(found.environment)
    if _spans_hosts(last):
        _cluster(whole, last, environment)
    extra: list[str] = []
    for given in last.values():
        _take(whole, given, extra)
    if read.config_file is not None and config_file is None:
        extra += ["--config", read.config_file]
        told = "it cannot be read here: its keys stay there, and may contradict the table"
        whole.leave(f"--config {read.config_file}", told)
    _variables(whole, environment)
    _cards(whole, found)
    if extra:
        whole.table["extra_args"] = extra
    if "model" not in whole.table:
        whole.leave("the model", "nothing names it, and what vLLM would take differs")
    _program(whole, found)
    _address(whole, found.container)
    if found.container is not None:
        _engine(whole, found.container, found.environment)
    for key in _PATHS:
        if isinstance(value := whole.table.get(key), str):
            whole.table[key] = found.placed(value)
    _without_secrets(whole, whole.table)
    whole.table = _in_order(whole.table)
    return whole


def _without_secrets(whole: Imported, table: dict[str, Any]) -> None:
    """Take out what holds a secret where none belongs; everyone on the host would see it."""
    for key, value in list(table.items()):
        if isinstance(value, dict):
            _without_secrets(whole, value)
        elif isinstance(value, str | list) and without_secrets(str(value)) != str(value):
            del table[key]
            told = "it holds a secret, which everyone on the host would see: it belongs into a file"
            whole.leave(key, told)


def service_name(text: str) -> str:
    """Return a name that a unit can have, "vllm" where nothing is left of it."""
    name = _SERVICE_NAME.sub("-", text.rpartition("/")[2]).strip("-_")[:40]
    return name or "vllm"


def _take(whole: Imported, given: Given, extra: list[str]) -> None:
    match given.name:
        case "api_key":
            _secret(whole, "api_key_file", f"{SECRETS}/{whole.name}_api_key", given.value)
        case "hf_token":
            _secret(whole, "hf_token_file", f"{SECRETS}/hf_token", given.value)
        case "device_ids" if isinstance(given.value, str):
            _gpus(whole, given.value.split(","), given.spelled)
        case "served_model_name" if isinstance(given.value, tuple):
            whole.table["served_model_name"] = given.value[0]
            for other in given.value[1:]:
                whole.leave(f"{given.spelled} {other}", "a service has one name here")
        case "max_model_len" if given.value == AUTO:
            told = "left to vLLM, and to llmagent where that does not fit"
            whole.leave(" ".join(given.words), told)
        case name if name in FLAGS:
            if given.value is not None:
                whole.table[name] = given.value
        case name if name in ESCAPES:
            if given.value is not False:
                whole.leave(" ".join(given.words), ESCAPES[name])
        case _ if without_secrets(" ".join(given.words)) != " ".join(given.words):
            told = "it holds a secret, which everyone on the host would see in ps"
            whole.leave(" ".join(given.words), told)
        case _:
            extra += given.words


def _spans_hosts(last: Mapping[str, Given]) -> bool:
    """Tell whether the line is one of several that serve one model together, each on its host."""
    picture = Picture(options=last)
    return spans_hosts(picture) or bool(picture.switch("headless"))


def _cluster(whole: Imported, last: dict[str, Given], environment: dict[str, str]) -> None:
    """Move what places this host among the others to `cluster`; who they are stands nowhere."""
    taken = [last.pop(name) for name in (*OPTIONS, "headless") if name in last]
    cluster: dict[str, Any] = {one.name: one.value for one in taken if one.value is not None}
    headless = cluster.pop("headless", False)
    cluster = {name: value for name, value in cluster.items() if value is not False}
    place = ClusterSettings(**cluster)
    if headless and not place.headless:
        cluster["headless"] = True
        place = replace(place, headless_asked=True)
    if address := environment.pop("VLLM_HOST_IP", ""):
        cluster["host_ip"] = address
    names = {environment[name] for name in _INTERFACES if name in environment}
    if len(names) == 1 and re.fullmatch(r"[A-Za-z0-9._-]+", name := names.pop()):
        cluster["interface"] = name
        for variable in _INTERFACES:
            environment.pop(variable, None)
    head = [place.meeting_address] if place.meeting_address and not place.is_head else []
    whole.table["cluster"] = {"peers": head, **cluster} if head else cluster
    if place.nnodes != 2 or not head:
        told = "no command line names them: give each one's llmagent in cluster.peers"
        whole.leave("the other hosts", told)


def _secret(whole: Imported, key: str, file: str, value: object) -> None:
    values = value if isinstance(value, tuple) else (value,)
    words = tuple(word for word in values if isinstance(word, str) and word)
    if words:
        whole.table[key] = file
        whole.secrets[file] = words


def _variables(whole: Imported, environment: Mapping[str, str]) -> None:
    kept = {}
    for name, value in environment.items():
        if name in _TOKENS:
            _secret(whole, "hf_token_file", f"{SECRETS}/hf_token", value)
        elif name == "VLLM_API_KEY":
            if "api_key_file" not in whole.table:
                _secret(whole, "api_key_file", f"{SECRETS}/{whole.name}_api_key", value)
        elif name == "HF_TOKEN_PATH":
            whole.table["hf_token_file"] = value
        elif name == "PATH":
            whole.leave("PATH", "the unit has its own: the engine's programs and the system's")
        elif name == "CUDA_DEVICE_ORDER" and value != "PCI_BUS_ID":
            told = "indices are now nvidia-smi's: look at `gpus` where cards differ"
            whole.leave(f"{name}={value}", told)
        elif name not in _CARDS and name not in _QUIET:
            kept[name] = value
    if kept:
        whole.table["environment"] = kept


def _cards(whole: Imported, found: Found) -> None:
    if found.gpus:
        _gpus(whole, found.gpus, "the GPUs of the container")
    for name in _CARDS:
        value = found.environment.get(name)
        if value is not None and "gpus" not in whole.table and value != "all":
            _gpus(whole, value.split(","), f"{name}={value}")


def _gpus(whole: Imported, words: Iterable[str], spelled: str) -> None:
    names = [word.strip() for word in words]
    if not names or set(names) <= _NO_GPU:
        whole.leave(spelled, "no GPU is named; `gpus` takes all of them")
        return
    indices = [whole_number(name, MOST_CARDS) for name in names]
    whole.table["gpus"] = [name if i is None else i for i, name in zip(indices, names, strict=True)]


def _program(whole: Imported, found: Found) -> None:
    if found.container is not None:
        return
    path = found.placed(found.program)
    if "/" in path and not path.startswith("/"):
        path = f"{found.directory.rstrip('/')}/{path}"
    directory, _, program = path.rpartition("/")
    if directory:
        is_python = program.startswith("python")
        whole.table["python"] = path if is_python else f"{directory}/python"
    elif found.launcher is not None:
        whole.leave(found.launcher.what, found.launcher.why)
    else:
        told = "its path is not known: set `python` to the engine's virtual environment"
        whole.leave(found.program or "vllm", told)
    if found.user == "root":
        whole.leave("User=root", "vLLM does not run as root here; it runs as the user vllm")
    elif found.user:
        whole.table["user"] = found.user


def _address(whole: Imported, box: Container | None) -> None:
    table = whole.table
    inside = table.get("port", DEFAULT_PORT)
    table.setdefault("port", DEFAULT_PORT)
    if "uds" in table:
        return
    if box is None or box.host_network:
        table.setdefault("host", EVERYWHERE)
        return
    own = [port for port in box.ports if port.inside == inside]
    for port in box.ports:
        if port not in own[:1]:
            served = "a service has one address" if port in own else f"vLLM listens on {inside}"
            whole.leave(f"port {port.outside}:{port.inside}", f"{served}, and only that is served")
    if own:
        table["port"], table["host"] = own[0].outside, own[0].host
    else:
        table["host"] = "127.0.0.1"
        told = "the service listens on the host; other containers reach it at the host's address"
        whole.leave("the container's own network", told)


def _engine(whole: Imported, box: Container, environment: Mapping[str, str]) -> None:
    table, engine = whole.table, dict[str, Any](runtime=box.runtime, image=box.image)
    given: dict[str, str] = table.get("environment", {})
    variables = {name: value for name, value in given.items() if name not in _HUBS}
    seen = " ".join(map(str, (*table.get("extra_args", ()), *variables.values())))
    written = " ".join(value for name, value in variables.items() if _WRITTEN.search(name))
    homes = [environment.get(name, "") for name in _HUBS]
    asked = [str(table.get(key, "")) for key in _PATHS] + homes
    mounts, writable = list[str](), list[str]()
    for mount in box.mounts:
        source = mount.source.rstrip("/")
        if mount.is_volume:
            continue
        names = re.compile(rf"(?:^|[\s=\"':;,]){re.escape(source)}(?:$|[\s/\"':;,])")
        if not mount.read_only and names.search(written):
            writable.append(source)
        elif names.search(seen):
            mounts.append(source)
        elif not any(f"{path}/".startswith(f"{source}/") for path in asked):
            told = "nothing that vLLM is told lies there; else add it to engine.mounts"
            whole.leave(f"volume {mount.source}:{mount.target}", told)
    if writable:
        table["writable_directories"] = writable
    more = {"mounts": mounts, "extra_options": list(box.options)}
    table["engine"] = engine | {key: value for key, value in more.items() if value}


def _in_order(table: Mapping[str, Any]) -> dict[str, Any]:
    """Put the keys in the order of agent.toml(5): vLLM's own, ours, sub-tables last."""
    ranks = {name: rank for rank, name in enumerate(_ORDER)}
    last = {"extra_args": 1, "environment": 2, "cluster": 3, "engine": 4}

    def rank(name: str) -> tuple[int, int]:
        return last.get(name, 0), ranks.get(name, len(ranks))

    return {name: table[name] for name in sorted(table, key=rank)}
