# SPDX-License-Identifier: Apache-2.0
"""A client for the vLLM of given settings."""

from __future__ import annotations

from agent.core.settings.service import Settings
from agent.host.vllm.api import VllmApi, service_url


def client_of(settings: Settings) -> VllmApi:
    """Return a client for the service as its own host reaches it."""
    return VllmApi(service_url(settings.host, settings.port))
