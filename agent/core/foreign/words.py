# SPDX-License-Identifier: Apache-2.0
"""A line as a shell divides it into words, and what of it stands before vLLM."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

_QUIET = frozenset({"env", "exec", "nohup", "setsid", "command", "uv", "run", "conda", "poetry"})
_AS_USER = frozenset({"sudo", "runuser", "setpriv", "su", "gosu", "chpst"})
_VARIABLE = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)


def split(text: str) -> tuple[str, ...]:
    """Return the words of a line; where quotes do not match, what spaces divide."""
    try:
        return tuple(shlex.split(text, comments=False))
    except ValueError:
        return tuple(text.split())


def wrappers(words: Sequence[str]) -> tuple[str, str]:
    """Return what starts vLLM's program and changes how it runs, and the user that it gives.

    "numactl -N 0" of `sudo -u me env A=1 numactl -N 0 vllm serve x`, and "me".
    """
    own = [word.rpartition("/")[2] for word in words]
    end = next((at for at, name in enumerate(own) if name == "vllm" or name[:6] == "python"), 0)
    kept: list[str] = []
    user = ""
    left = list(words[:end])
    while left:
        word = left.pop(0)
        name = word.rpartition("/")[2]
        if name in _AS_USER:
            while left and left[0].startswith("-"):
                flag = left.pop(0)
                if flag in ("-u", "--user") and left:
                    user = left.pop(0)
        elif name not in _QUIET and not _VARIABLE.fullmatch(word) and not word.endswith(")"):
            kept.append(word)
    return " ".join(kept), user
