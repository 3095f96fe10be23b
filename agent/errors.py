# SPDX-License-Identifier: Apache-2.0
"""Errors that an operator may see; each has the exit status of the command that it ends.

The exit statuses are a contract: 2 a mistake in the configuration or the command line, 3 the daemon
is away, 4 the host lacks something that the command needs.
"""

from __future__ import annotations


class AgentError(Exception):
    """Says what is wrong, where, and what to do, in one message."""

    exit_status = 1


class ConfigError(AgentError):
    """Holds every mistake found in a configuration file, each with its path in the file."""

    exit_status = 2

    def __init__(self, file: str, mistakes: tuple[str, ...]) -> None:
        self.file = file
        self.mistakes = mistakes
        super().__init__("\n".join(f"{file}: {mistake}" for mistake in mistakes))


class UsageError(AgentError):
    """Tells that the command line asks for something that does not exist."""

    exit_status = 2


class DaemonAwayError(AgentError):
    """Tells that the command needs the running daemon, and that there is none."""

    exit_status = 3


class HostLacksError(AgentError):
    """Tells that the host lacks a program, a library, a file or a permission."""

    exit_status = 4
