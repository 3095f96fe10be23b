# SPDX-License-Identifier: Apache-2.0
"""The command line that starts vLLM with given settings, for the vLLM that is installed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from agent.core.engine.credentials import CREDENTIALS, credential_path
from agent.core.engine.install import Engine
from agent.core.settings.service import Settings

FLAGS: Mapping[str, str] = MappingProxyType(
    {
        "model": "--model",
        "host": "--host",
        "port": "--port",
        "served_model_name": "--served-model-name",
        "revision": "--revision",
        "tokenizer": "--tokenizer",
        "chat_template": "--chat-template",
        "dtype": "--dtype",
        "quantization": "--quantization",
        "kv_cache_dtype": "--kv-cache-dtype",
        "max_model_len": "--max-model-len",
        "max_num_seqs": "--max-num-seqs",
        "max_num_batched_tokens": "--max-num-batched-tokens",
        "gpu_memory_utilization": "--gpu-memory-utilization",
        "kv_cache_memory_bytes": "--kv-cache-memory-bytes",
        "tensor_parallel_size": "--tensor-parallel-size",
        "pipeline_parallel_size": "--pipeline-parallel-size",
        "data_parallel_size": "--data-parallel-size",
        "enable_expert_parallel": "--enable-expert-parallel",
        "api_server_count": "--api-server-count",
        "enforce_eager": "--enforce-eager",
        "max_cudagraph_capture_size": "--max-cudagraph-capture-size",
        "enable_prefix_caching": "--enable-prefix-caching",
        "enable_chunked_prefill": "--enable-chunked-prefill",
        "trust_remote_code": "--trust-remote-code",
        "uds": "--uds",
        "ssl_certfile": "--ssl-certfile",
        "ssl_keyfile": "--ssl-keyfile",
        "ssl_ca_certs": "--ssl-ca-certs",
        "ssl_cert_reqs": "--ssl-cert-reqs",
        "shutdown_timeout": "--shutdown-timeout",
    }
)
"""Each setting that is a flag of vLLM, and that flag; in the order of the command line."""

OFF_BY_DEFAULT = frozenset({"enable_expert_parallel", "enforce_eager", "trust_remote_code"})
"""Switches that are off in every vLLM unless asked for, so that "false" needs no flag."""

NOT_HEADLESS = frozenset(
    {"api_server_count", "uds", "ssl_certfile", "ssl_keyfile", "ssl_ca_certs", "ssl_cert_reqs"}
)
"""What is for requests; vLLM refuses --api-server-count with --headless (cli/serve.py, 0.32)."""

_TAKES_KEYS = (
    f"keys = open(os.environ['CREDENTIALS_DIRECTORY'] + '/{CREDENTIALS['api_key_file']}')"
    ".read().split(); "
    "sys.argv += ['--api-key', *keys] if len(keys) > 1 else []; "
    "os.environ['VLLM_API_KEY'] = keys[0] if keys else sys.exit('api_key_file holds no key'); "
)
"""Neither ps nor the unit nor the journal show them. One key goes by VLLM_API_KEY, which all
releases know; several by vLLM's own list, in which no other process can look (0.32 and later leave
it out of the log, too)."""

_OPENS_SOCKET = (
    "import socket; bind = socket.socket.bind; "
    "socket.socket.bind = lambda s, to: (bind(s, to), to == '{uds}' and os.chmod(to, 0o666))[0]; "
)
"""vLLM makes its socket as the umask has it (0.8..0.33), while uvicorn, to which it hands it, would
give it this mode. Who may reach it is up to its directory; llmagent, which is root without the
right to write to files of others, is kept out by a mode without it."""


def before_vllm(settings: Settings) -> str:
    """Return the Python that stands before vLLM's program, "" where none does."""
    keys = "" if settings.api_key_file is None else _TAKES_KEYS
    socket = "" if settings.uds is None else _OPENS_SOCKET.format(uds=settings.uds)
    what = keys + ("" if settings.headless else socket)
    return _framed(what) if what else ""


def _framed(what: str) -> str:
    runs = "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
    return f"import os, runpy, sys; sys.argv = sys.argv[1:]; {what}{runs}"


FIRST_WITH_SEVERAL_KEYS = (0, 32)
"""Earlier releases may print --api-key to the journal (vLLM pull request 52523)."""

QUIET_ENDPOINTS = "/health,/metrics"
"""Paths whose access lines would fill the journal, as the agent asks for them all the time."""


def command_line(settings: Settings, engine: Engine) -> tuple[str, ...]:
    """Return the whole argv, with the interpreter first and never a secret in it.

    What the operator asked for is always in it, known to this vLLM or not; only what the agent
    adds by itself depends on the version. Values are joined by "=" so that none of them can be
    taken for a flag.
    """
    return (
        settings.python,
        *_module(settings, engine),
        *_asked(settings, engine),
        *_cluster(settings),
        *_added(settings, engine),
        *settings.extra_args,
    )


def _module(settings: Settings, engine: Engine) -> tuple[str, ...]:
    code = before_vllm(settings)
    runs = ("-c", code) if code else ("-m",)
    if engine.has_vllm_metadata and engine.at_least(0, 8):
        return (*runs, "vllm.entrypoints.cli.main", "serve", settings.model)
    return (*runs, "vllm.entrypoints.openai.api_server", f"--model={settings.model}")


def _asked(settings: Settings, engine: Engine) -> Iterator[str]:
    for name, flag in FLAGS.items():
        if name in ("model", "shutdown_timeout") or (settings.headless and name in NOT_HEADLESS):
            continue
        match getattr(settings, name):
            case None:
                continue
            case True:
                yield flag
            case False if name in OFF_BY_DEFAULT:
                continue
            case False:
                # 0.9 made every switch a --x / --no-x pair; before, --x took a value.
                yield f"{flag}=False" if engine.before(0, 9) else f"--no-{flag[2:]}"
            case value if name in CREDENTIALS:
                yield f"{flag}={credential_path(settings.unit, CREDENTIALS[name])}"
            case value:
                yield f"{flag}={value}"


def _cluster(settings: Settings) -> Iterator[str]:
    if settings.cluster is None:
        return
    for name, value in settings.cluster.arguments.items():
        flag = f"--{name.replace('_', '-')}"
        if value is not False:
            yield flag if value is True else f"{flag}={value}"


def _added(settings: Settings, engine: Engine) -> Iterator[str]:
    if settings.served_model_name is None and not settings.model.startswith("/"):
        # Offline vLLM puts the path of the snapshot for the id, in its metrics too (RUN 0.32).
        yield f"--served-model-name={settings.model}"
    if engine.knows("--shutdown-timeout", (0, 18)):
        yield f"--shutdown-timeout={settings.shutdown_timeout}"
    if engine.knows("--disable-access-log-for-endpoints", (0, 16)):
        yield f"--disable-access-log-for-endpoints={QUIET_ENDPOINTS}"
    if engine.before(0, 10):
        # Until 0.10 each request was logged with its prompt unless this was given.
        yield "--disable-log-requests"
