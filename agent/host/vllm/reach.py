# SPDX-License-Identifier: Apache-2.0
"""A client for the vLLM of given settings, and its address for a person."""

from __future__ import annotations

from agent.core.settings.service import Settings
from agent.host.vllm.access import access_of
from agent.host.vllm.api import VllmApi, service_url


def client_of(settings: Settings, address: str = "") -> VllmApi:
    """Return a client for the service as its own host reaches it.

    `address` is where the present run listens, as `address_of` returned it then.
    """
    url = address.replace("https://", "http://", 1)
    known = url if url.startswith("http://") else service_url(settings.host, settings.port)
    return VllmApi(known, access=access_of(settings))


def address_of(settings: Settings) -> str:
    """Return where clients reach the service: http://, https:// or unix:."""
    if settings.uds is not None:
        return f"unix:{settings.uds}"
    url = service_url(settings.host, settings.port)
    return url.replace("http://", "https://", 1) if settings.speaks_tls else url
