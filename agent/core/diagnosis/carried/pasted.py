# SPDX-License-Identifier: Apache-2.0
"""Lines that went through a web page or an editor: its quotation marks, escapes and blanks."""

from __future__ import annotations

import re

_TYPESET = str.maketrans(
    {
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032", "'"),
        **dict.fromkeys("\u00a0\u2007\u202f\u2002\u2003\u2009", " "),
        **dict.fromkeys("\u200b\ufeff\u2060\u00ad", ""),
        "\u2013": "-",
        "\uff1a": ":",
        "\uff0c": ",",
        "\uff08": "(",
        "\uff09": ")",
    }
)
"""What editors, forums and input methods put for ASCII marks and blanks."""

_ENTITY = re.compile(r"&(?:(quot|apos|lt|gt|nbsp|amp)|#(\d{1,3})|#x([0-9a-fA-F]{1,2}));")
_NAMED = {"quot": '"', "apos": "'", "lt": "<", "gt": ">", "nbsp": " ", "amp": "&"}
_BOLD = re.compile(r"\*\*([a-z_]{2,40})\*\*")
_EMPHASIS = re.compile(r"(?:^|(?<=[\s\]]))\*\*([A-Za-z\[(][^*]{8,4000}?)\*\*(?=[\s.,]|$)")
_NOTEBOOK = re.compile(
    r"(?:File )?[\[(]?((?:~|/)[^\s:\]]{1,300}\.py)(?:\]\([^)\s]{1,300}\))?(?::(\d{1,7}))?,? in "
    r"(?:\w{1,80}\.){0,3}([\w<>]{1,80})\(.{0,400}\)$"
)
"""A frame as IPython and its notebooks print it, with the arguments: "File PATH:LINE, in NAME()",
before 8 "PATH in NAME()"."""
_ESCAPED = re.compile(r"\\([_*\[\]<>`])")


def plain(raw: str) -> str:
    """Return the line as the program wrote it, as far as its marks can tell; most are as they are.

    A page's escapes are undone (HTML's entities, Markdown's backslash before a mark and its bold
    type), and typeset quotation marks, dashes and blanks are those of ASCII again. A notebook's
    frame is one of Python.
    """
    if not raw.isascii():
        raw = raw.translate(_TYPESET)
    if "&" in raw:
        raw = _ENTITY.sub(_meant, raw)
    if "\\_" in raw:
        raw = _ESCAPED.sub(r"\1", raw)
    if "**" in raw:
        raw = _EMPHASIS.sub(r"\1", _BOLD.sub(r"__\1__", raw))
    if ".py" in raw and (frame := _NOTEBOOK.match(raw)) is not None:
        path, number, function = frame.groups()
        raw = f'  File "{path}", line {number or 0}, in {function}'
    return raw


def _meant(found: re.Match[str]) -> str:
    name, decimal, hexadecimal = found.groups()
    if name is not None:
        return _NAMED[name]
    code = int(decimal) if decimal is not None else int(hexadecimal, 16)
    mark = chr(code)
    return mark if mark.isprintable() and mark.isascii() else found.group()
