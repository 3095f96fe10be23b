# SPDX-License-Identifier: Apache-2.0
"""Takes what is not for everybody out of a text that others may read: secrets, and quotations.

What a secret was stays named. A quotation is what an engine says of a request: an exception of a
tokenizer, a parser or a scheduler may hold the prompt itself, in quotes, behind its name or as ids.
"""

from __future__ import annotations

import re

GONE = "[secret]"

_HINTS = (
    *("hf_", "sk-", "earer", "://", "ignature", "pi_", "pi-", "PI_KEY", "PI-KEY", "uthorization"),
    *("assw", "redential", "-Token", "-token"),
)
"""One of these stands in every text with a secret that is known here."""

_TOKEN = re.compile(
    # Words with underscores are names of Python's: hf_hub_download, hf_raise_for_status.
    r"\b(?:hf_(?![a-z]{1,20}(?:_[a-z]{1,20}){1,9}\b)|sk-)[A-Za-z0-9_-]{8,400}"
)
_BEARER = re.compile(r"(?<=[Bb]earer )[A-Za-z0-9._~+/=-]{6,4000}")
_OF_A_URL = re.compile(r"(?<=://)[^\s/@:'\"]{1,200}:[^\s/@'\"]{1,400}(?=@)")
_NAMED = re.compile(
    r"((?:[Xx]-[Aa]mz-(?:[Ss]ignature|[Cc]redential|[Ss]ecurity-[Tt]oken)|\b[Ss]ignature"
    r"|\b[Aa]pi[_-][Kk]ey|\bAPI[_-]KEY|[Aa]uthorization|\b[Pp]assword|\b[Pp]asswd)"
    r"['\"]?(?: ?= ?|: ?)\[?['\"]?)(?!secret\]|Bearer|\[|None)[^\s'\",&\])]{1,4000}"
)


def without_secrets(text: str) -> str:
    """Return the text with GONE for tokens, keys, signatures and passwords within it."""
    if not any(hint in text for hint in _HINTS):
        return text
    text = _BEARER.sub(GONE, _TOKEN.sub(GONE, text))
    return _NAMED.sub(rf"\1{GONE}", _OF_A_URL.sub(GONE, text))


QUOTATION = "[...]"

_QUOTED = re.compile(r"(?<!\w)(['\"`])(?![\w.:/@+=-]{0,80}\1)(?:\\.|(?!\1)[^\\])*+\1?")
"""Text in quotes that is no name: of a file, a key, a setting or a type there is one word."""

_OF_A_REQUEST = re.compile(
    r"(?i)\b((?:prompts?|messages|content|inputs?|query|queries|documents?|conversation)"
    r"(?:_text)?(?:\[\d{1,9}\])?['\"]?(?: is| was)?[ ]?[:=] ?)(?!None\b|\d|\[\.)\S.*+"
)
_IDS = re.compile(r"\d{1,9}(?:, ?\d{1,9}){5}(?:, ?\d{1,9})*+")


def without_quotations(text: str) -> str:
    """Return the text with QUOTATION for what a client may have written and an engine repeats."""
    text = _OF_A_REQUEST.sub(rf"\1{QUOTATION}", _QUOTED.sub(QUOTATION, text))
    return _IDS.sub(QUOTATION, text)
