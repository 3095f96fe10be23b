# SPDX-License-Identifier: Apache-2.0
"""What systemd itself says of a process that never was vLLM."""

from __future__ import annotations

SYSTEMD_EXIT_STATUS = {
    200: ("CHDIR", "the working directory of the unit cannot be entered"),
    203: ("EXEC", "`python` cannot be executed: check service.{name}.python"),
    216: ("GROUP", "a group of the unit does not exist: check drop-ins of {name}.service"),
    217: ("USER", "the user of the unit does not exist: check service.{name}.user"),
    218: ("CAPABILITIES", "systemd could not drop capabilities: check drop-ins"),
    226: ("NAMESPACE", "a path of the sandbox is missing: check the model's path and drop-ins"),
    228: ("SECCOMP", "the system call filter was refused: set service.{name}.sandbox"),
    238: ("STATE_DIRECTORY", "/var/lib/vllm cannot be made: is the file system full or read-only?"),
    239: ("CACHE_DIRECTORY", "/var/cache/vllm cannot be made: is the file system full?"),
    243: ("CREDENTIALS", "the token file cannot be read: check service.{name}.hf_token_file"),
}
"""Exit statuses that systemd itself gives before vLLM runs (systemd.exec(5)), and what to do."""
