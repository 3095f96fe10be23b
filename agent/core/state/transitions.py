# SPDX-License-Identifier: Apache-2.0
"""The phases that may follow each other, and why: the table that tests and README are made from."""

from __future__ import annotations

from collections.abc import Mapping

from agent.core.state.phases import Phase

P = Phase
TRANSITIONS: Mapping[tuple[Phase, Phase], str] = {
    (P.WAITING, P.STARTING): "its time has come and no other start is on its GPU",
    (P.WAITING, P.FETCHING): "its model is not complete in the hub's cache",
    (P.FETCHING, P.WAITING): "the model is complete, or the fetch is tried again later",
    (P.FETCHING, P.HELD): "only a person can help, or the disk is full",
    (P.FETCHING, P.STARTING): "the operator starts the unit",
    (P.FETCHING, P.STOPPED): "the operator stops the fetch",
    (P.STARTING, P.VERIFYING): "/health answers 200",
    (P.STARTING, P.EXAMINING): "the process ends unasked",
    (P.STARTING, P.STOPPING): "no progress within the stall limit",
    (P.STARTING, P.STOPPED): "the operator stops the unit",
    (P.STARTING, P.WAITING): "a new configuration, or the host was rebooted",
    (P.VERIFYING, P.SERVING): "the list was run and the model answered",
    (P.VERIFYING, P.EXAMINING): "the process ends unasked",
    (P.VERIFYING, P.STOPPING): "the model never answers, or a mismatch with on_mismatch = stop",
    (P.VERIFYING, P.STARTING): "the operator restarts the unit",
    (P.VERIFYING, P.STOPPED): "the operator stops the unit",
    (P.VERIFYING, P.WAITING): "a new configuration, or the host was rebooted",
    (P.SERVING, P.EXAMINING): "the process ends unasked",
    (P.SERVING, P.STOPPING): "no tokens and a one-token request fails, a sick GPU, or a drain",
    (P.SERVING, P.STARTING): "the operator restarts the unit",
    (P.SERVING, P.STOPPED): "the operator stops the unit",
    (P.SERVING, P.WAITING): "a new configuration, a planned restart, a night's trial, a reboot",
    (P.EXAMINING, P.WAITING): "the remedy is a change, a wait, another try or the old settings",
    (P.EXAMINING, P.HELD): "only a person can help",
    (P.EXAMINING, P.STARTING): "systemd or the operator started it first",
    (P.EXAMINING, P.STOPPED): "the operator stops the unit",
    (P.STOPPING, P.WAITING): "the hung run is gone, or the host was rebooted",
    (P.STOPPING, P.HELD): "stopped because of a mismatch, or a GPU is not well or too hot",
    (P.STOPPING, P.STARTING): "the operator restarts the unit",
    (P.STOPPING, P.STOPPED): "it was drained, as the operator asked",
    (P.STOPPED, P.STARTING): "the operator starts the unit",
    (P.STOPPED, P.WAITING): "the host was rebooted, or the operator asks for a restart",
    (P.HELD, P.STARTING): "the operator starts the unit, or gives back one that still runs",
    (P.HELD, P.WAITING): "a new configuration, a reboot, room on the disk, or its GPUs are well",
    (P.HELD, P.STOPPED): "the unit is llmagent's again, and the operator had stopped it before",
    (P.WAITING, P.HELD): "the unit is not llmagent's, or a GPU or the driver is not well",
    (P.STARTING, P.HELD): "the operator takes the unit over",
    (P.VERIFYING, P.HELD): "the operator takes the unit over",
    (P.SERVING, P.HELD): "the operator takes the unit over",
    (P.STOPPED, P.HELD): "the operator takes the unit over",
}


def state_diagram() -> str:
    """Return the table as a mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> waiting"]
    lines += [f"    {old} --> {new}: {why}" for (old, new), why in TRANSITIONS.items()]
    return "\n".join(lines)
