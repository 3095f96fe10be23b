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


def may_hold_a_secret(text: str) -> bool:
    """Tell whether `without_secrets` would look at the text."""
    return any(hint in text for hint in _HINTS)


def without_secrets(text: str) -> str:
    """Return the text with GONE for tokens, keys, signatures and passwords within it."""
    for hint in _HINTS:  # as a loop it takes half of the time that `any` does, of every line
        if hint in text:
            break
    else:
        return text
    text = _BEARER.sub(GONE, _TOKEN.sub(GONE, text))
    return _NAMED.sub(rf"\1{GONE}", _OF_A_URL.sub(GONE, text))


ISSUED = re.compile(
    r"(?<![\w-])eyJ[\w-]{8,4000}(?:\.[\w-]{1,4000}){1,4}"  # JSON web token
    r"|\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{12,30}\b|\bAIza[\w-]{20,60}"
    r"|\b(?:gh[opsur]|github_pat|glpat|glrt|npm|pypi|xox[abeprs]|dckr_pat|nvapi|gsk|[rsp]k|r8|dop)"
    r"[_-][\w-]{16,400}|\bbot\d{5,12}:[\w-]{20,80}"
    r"|(?<=hooks\.slack\.com/)services/[\w/-]{8,200}|(?<=/webhooks/)\d{1,30}/[\w-]{8,200}"
)
"""Keys that their issuers mark by how they begin, and addresses that are keys."""
HEADER = re.compile(
    r"(?i)(\b(?:proxy-)?authorization|\b(?:set-)?cookie)(['\"]?\s{0,3}[:=]\s{0,3}).+"
)
PEM = re.compile(
    r"-----BEGIN [A-Z ]{0,40}(?:KEY|CERTIFICATE)[A-Z ]{0,20}-----"
    r"(?:(?!-----END).){0,20000}(?:-----END [A-Z ]{0,60}-----)?",
    re.DOTALL,
)
_BEFORE_A_HOST = re.compile(r"(?<=://)[^\s/@'\"<>]{1,600}(?=@)")
_ASSIGNED = re.compile(
    r"(?i)(?<![\w.-])((?:[\w.-]{0,60}(?:secret|passw(?:or)?d|passphrase|[_-]pass|pwd|credentials?|api[_-]?key"
    r"|access[_-]?key|secret[_-]?key|private[_-]?key|[_-]token)['\"]?\s{0,2}[=:]|(?:token|sig|auth|jwt)"
    r"(?:=|['\"]:)|--?[\w-]{0,30}(?:key|token|password|secret)(?:=|\s))\s{0,2}\[?['\"]?)"
    r"(?!\[|secret\]|(?:None|null|true|false|\d{1,9})(?![\w.+/=-])"
    # What a tokenizer calls a token (<s>, <|im_end|>, [MASK]), and how long one takes.
    r"|\W?<[|/\w]|[A-Z]{2,8}\]|AddedToken\(|\d{1,9}(?:\.\d{1,9})?(?:ms|us|s|%)?(?![\w.+/=-]))"
    r"[^\s'\",&;)\]}]{4,4000}"
)
_OF_PROGRAMS = re.compile(
    r"(\b(?:mysql|mariadb)[\w-]{0,20} (?:\S{1,60} ){0,5}?-p|\bsshpass -p ?"
    r"|(?<=\s)-u\s?[^\s:]{1,100}:)(?![\s=-])\S{1,400}"
)
"""Their passwords stand in one word with an option or a user."""

_BEHIND_AN_OPTION = re.compile(
    r"(?<![\w-])((?:--?[A-Za-z][A-Za-z-]{1,30}[ =:]|-[A-Za-z] ?|/p:)['\"]?(?:[\w.@]{1,40}[:%,])?)"
    r"(?![0-9a-f]{40}\b)([A-Za-z0-9+/_]{16,400}+)"
)
"""An option of any program, and a long word behind it, which is no commit."""


_LONG_WORD = re.compile(
    r"(?<![\w/.+])([A-Za-z0-9+/_=]{0,80}?=)?([A-Za-z0-9+/_]{20,400}+)(?![\w-]|\.\w)"
)
"""A word by itself, as many programs take a key; also behind the name of a value."""

_KINDS = (re.compile(r"[a-z]"), re.compile(r"[A-Z]"), re.compile(r"[0-9]"))
"""What a word that is drawn by lot has all of; names of 20 characters that do are made of words."""


_CALLED = re.compile(
    r"(?i)((?:token|secret|secret[ _-]key|api[ _-]key|access[ _-]key|password|passphrase|-p)[:=]?"
    r"\s['\"]?)(?=[A-Za-z+/=-]{0,400}\d)[A-Za-z0-9+/=-]{20,400}(?![\w.])"
)
"""A long word with a digit behind what calls it a secret."""


def without_any_secret(text: str) -> str:
    """Return the text without what `without_secrets` takes out, nor what else may be a secret.

    It is slower, for what leaves a log towards people: what looks like a secret by its name or by
    its issuer's mark goes, and a long word that is drawn by lot, wherever it stands.
    """
    text = PEM.sub(GONE, _BEFORE_A_HOST.sub(GONE, without_secrets(text)))
    text = _ASSIGNED.sub(rf"\1{GONE}", HEADER.sub(rf"\1\2{GONE}", ISSUED.sub(GONE, text)))
    text = _OF_PROGRAMS.sub(rf"\1{GONE}", text)
    text = _BEHIND_AN_OPTION.sub(_without_what_is_random, text)
    return _CALLED.sub(rf"\1{GONE}", _LONG_WORD.sub(_without_what_is_drawn, text))


def _without_what_is_random(found: re.Match[str]) -> str:
    from agent.core.randomness import is_random  # no line of a usual night comes here: memory

    return f"{found[1]}{GONE}" if is_random(found[2]) else found[0]


def _without_what_is_drawn(found: re.Match[str]) -> str:
    word = found[2]
    if not all(kind.search(word) for kind in _KINDS):
        return found[0]
    from agent.core.randomness import is_random  # as above

    return f"{found[1] or ''}{GONE}" if is_random(word) else found[0]


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
