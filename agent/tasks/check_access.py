# SPDX-License-Identifier: Apache-2.0
"""Who may reach a service and with what: secrets in files, keys, TLS, prompts in the journal."""

from __future__ import annotations

import os
from collections.abc import Iterator

from agent.core.command.picture import picture_of
from agent.core.engine.command_line import FIRST_WITH_SEVERAL_KEYS
from agent.core.engine.install import Engine
from agent.core.settings.service import Settings
from agent.host.files.own import read_own
from agent.host.machine.access import file_facts, user_id
from agent.host.vllm.access import UntrustedError, tls_context

SECRETS = {
    "hf_token_file": "token",
    "api_key_file": "key",
    "ssl_keyfile": "private key",
    "client_keyfile": "private key",
}
"""Settings that name a file which nobody but root may read, and what is in it."""

KEYS_BYTES = 1 << 16
LEVEL = "VLLM_REQUEST_BODY_LOG_LEVEL"
FIRST_WITH_LEVEL = (0, 33)


def how_to_fill(file: str) -> str:
    """Return how a secret gets into a file without a copy in the history of a shell."""
    return f"sudo install -m 600 /dev/stdin {file}, then paste it, Enter, Ctrl-D"


def secret_files(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield key and sentence for each mistake about a file that holds a secret.

    Raises PermissionError where this user may not look at it.
    """
    for key, what in SECRETS.items():
        file = getattr(settings, key)
        if file is None:
            continue
        facts = file_facts(file)
        if facts is None:
            yield key, f"{file} is no file; put the {what} in it: {how_to_fill(file)}"
            continue
        if facts.mode & 0o077:
            others = f"{file} has mode {facts.mode:04o}, so others may read the {what}"
            yield key, f"{others}; chmod 600 {file}"
        if facts.owner not in (0, user_id(settings.user)):
            yield key, f"{file} belongs to another user; chown root {file}"
        if facts.size == 0:
            yield key, f"{file} is empty; put the {what} in it"
    for key in ("ssl_certfile", "client_certfile"):
        file = getattr(settings, key)
        if file is not None and file_facts(file) is None:
            yield key, f"{file} is no file; put the certificate in it"
    cert, private = settings.client_certfile, settings.client_keyfile
    if cert and private and all(os.access(file, os.R_OK) for file in (cert, private)):
        try:
            tls_context((cert, private))
        except UntrustedError as error:
            yield "client_certfile", str(error)


def what_keeps_from_using(file: str, content: str, secret: str = "") -> tuple[bool, str] | None:
    """Return what is wrong with a file that holds `content`, and whether it is certain.

    `secret` names what in it only root may read; "" where everybody may.
    """
    try:
        facts = file_facts(file)
    except PermissionError as error:
        return False, f"{file} cannot be looked at: {error.strerror}; run check as root"
    if facts is None:
        return True, f"{file} is no file; put {content} in it{', mode 0600' if secret else ''}"
    if secret and facts.mode & 0o077:
        others = f"{file} has mode {facts.mode:04o}, so others may read the {secret}"
        return True, f"{others}; chmod 600 {file}"
    return (True, f"{file} is empty; put {content} in it") if facts.size == 0 else None


def key_mistakes(settings: Settings, engine: Engine) -> Iterator[str]:
    """Yield what is wrong with the keys in api_key_file; no sentence shows one of them.

    Raises OSError where the file cannot be read.
    """
    if settings.api_key_file is None:
        return
    file = settings.api_key_file
    lines = read_own(file, KEYS_BYTES).splitlines()
    keys = [line.strip() for line in lines if line.strip()]
    for number, line in enumerate(lines, 1):
        word = line.strip()
        if word and (not word.isascii() or len(word.split()) > 1 or word.startswith(b"-")):
            yield f"{file}, line {number}: a key is one word of ASCII that does not begin with -"
    if len(keys) > 1 and not engine.at_least(*FIRST_WITH_SEVERAL_KEYS):
        release = ".".join(map(str, FIRST_WITH_SEVERAL_KEYS))
        yield (
            f"{file} holds {len(keys)} keys; before vLLM {release} several would be printed to the "
            f"journal: leave one"
        )


def exposure(settings: Settings) -> str:
    """Return what the world can do with a service that it reaches."""
    if settings.api_key_file is None:
        return (
            f"{settings.host} lets everyone who reaches this host use the model, as vLLM asks for "
            f"no key; set api_key_file, or put a proxy or a firewall before it"
        )
    open_paths = "/metrics, /invocations, /tokenize, /pooling, /score and /classify"
    told = f"vLLM asks for the key below /v1 only: {open_paths} stay open to everyone"
    if not settings.speaks_tls:
        told += f", and keys cross the network to {settings.host} in the clear without ssl_certfile"
    return f"{told}; put a proxy or a firewall before it"


def prompts_in_the_journal(settings: Settings, engine: Engine) -> str:
    """Return why prompts would be written to the journal, "" when they would not."""
    picture = picture_of(settings)
    environment = settings.environment
    if environment.get("VLLM_DEBUG_LOG_API_SERVER_RESPONSE", "").lower() in ("1", "true"):
        return "VLLM_DEBUG_LOG_API_SERVER_RESPONSE writes every answer to the journal"
    if not picture.switch("enable_log_requests"):
        return ""
    chatty = environment.get("VLLM_LOGGING_LEVEL", "INFO").upper() == "DEBUG"
    level = environment.get(LEVEL, "DEBUG").upper()
    if not engine.at_least(*FIRST_WITH_LEVEL):
        return "enable-log-requests may write prompts to the journal, where their text stays"
    if level != "DEBUG" or chatty:
        return f"enable-log-requests with {LEVEL}={level} writes prompts to the journal"
    return ""
