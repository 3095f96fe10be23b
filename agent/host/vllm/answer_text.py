# SPDX-License-Identifier: Apache-2.0
"""A server's answer to its body and to the words that it has for an error, both bounded."""

from __future__ import annotations

import json

from urllib3 import HTTPResponse

from agent.core.plain import plain, plain_name

BLOCK_BYTES = 64 << 10


def read_body(response: HTTPResponse, cap: int) -> bytes | None:
    """Return the body as it was sent, None when it is longer than `cap`.

    Raises ValueError for one that is packed: it was not asked for, and 2 KB may become 2 GB.
    """
    packing = response.headers.get("Content-Encoding", "identity").strip().lower()
    if packing not in ("", "identity"):
        raise ValueError(f"the answer is packed ({plain(packing, 40)}), which was not asked for")
    body = bytearray()
    while chunk := response.read(BLOCK_BYTES, decode_content=False):
        body += chunk
        if len(body) > cap:
            return None
    return bytes(body)


def error_message(document: object) -> str | None:
    """Return what a JSON document says is wrong, None when it says nothing of the kind."""
    match document:
        case {"error": {"message": message}} | {"object": "error", "message": message}:
            return plain_name(str(message))
        case {"error": other} if other is not None:
            return plain_name(str(other))
        case _:
            return None


def message_of(body: bytes) -> str:
    """Return what an answer says is wrong, in whatever form it says it."""
    try:
        message = error_message(json.loads(body))
    except (ValueError, RecursionError):
        message = None
    return message or start_of(body)


def start_of(body: bytes) -> str:
    """Return the beginning of a body, for a person."""
    return plain_name(body[:200].decode("utf-8", "replace").strip()) or "(empty)"


def ids_in(said: object) -> tuple[int, ...]:
    """Return the ids, () for anything else than a list of them."""
    if not isinstance(said, list) or not all(type(one) is int for one in said):
        return ()
    return tuple(said)
