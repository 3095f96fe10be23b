# SPDX-License-Identifier: Apache-2.0
"""A reader of whole logs that knows lines by their shape: what it has read costs a look-up.

An engine that warns a thousand times, and a server that prints the traceback of each refused
request, write lines that differ in their numbers. What such lines change is known from the first of
them, as long as no traceback and no other carrier is open; then it is changed at once. The bounds
keep memory flat: a log of ever new lines is read as without this, and costs a little more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agent.core.diagnosis.familiar.blanks import Blanks, shape_of
from agent.core.diagnosis.familiar.forms import Form, Words, form_of
from agent.core.diagnosis.reader import OF_A_CLIENT, TAIL_CHARACTERS, TAIL_LINES, LogReader
from agent.core.diagnosis.signatures import SignatureSet
from agent.core.diagnosis.usual import Statistics, Usual

MAX_FORMS = 1_024
"""Shapes of lines whose form is kept; then all are learned anew."""

MAX_SEEN = 4_096
"""Shapes that came once: the second line of one is learned."""


class FamiliarReader(LogReader):
    """Reads as LogReader does, and whole lines without times at once."""

    def __init__(self, signatures: SignatureSet) -> None:
        super().__init__(signatures)
        self._blanks: Blanks | None = None
        self._forms: dict[bool, dict[str, Form | None]] = {False: {}, True: {}}
        self._seen: set[str] = set()

    def feed_lines(self, lines: Sequence[str], feed: Callable[[str], bool]) -> int:
        """Take lines as `feed` would one by one, by it where it must; returns how many.

        `feed` hands a line on to this reader, and tells whether others than it may read the next.
        """
        shapes = shape_of("\n".join(lines)).split("\n")
        at, end, alone = 0, len(lines), True
        while at < end and alone:
            ready = self._run.ready
            known = self._forms[ready]
            forms = [None] * at + list(map(known.get, shapes[at:]))
            while at < end and alone and self._run.ready is ready:
                forms[at] = forms[at] or known.get(shapes[at])
                after = self._take_forms(lines, forms, at)
                if after == at:
                    alone = feed(lines[at])
                    self._learn(shapes[at], lines[at], ready=ready)
                    after += 1
                at = after
        return at

    def _take_usual(self, said: Usual) -> bool:
        """Take usual lines; answers behind a client's record, which may be of it, as a client's."""
        provenance, lines = self._provenance, said.lines
        rest = provenance.quoted.rest_of(said.process) if self._at is None else 0
        if not rest or isinstance(said, Statistics):
            return super()._take_usual(said)
        if rest < len(lines) or not self._carriers.know(said, said.shown[0]):
            return False
        provenance.quoted.went_on(said.process, len(lines), None)
        write = None if said.accepted else said.process or provenance.write or ""
        provenance.took_forms(len(lines), write, clients=True)
        self._keep_a_client()
        self._wrapped.forget()
        if self._run.ready and self._followers is not None:
            self._followers.forget()
        return True

    def _keep_a_client(self) -> None:
        if not (self._tail and self._tail[-1] == OF_A_CLIENT):
            self._tail.append(OF_A_CLIENT)

    def _learn(self, shape: str, line: str, *, ready: bool) -> None:
        known = self._forms[ready]
        if shape in known or not self._carriers.is_plain:
            return
        if shape not in self._seen:
            if len(self._seen) >= MAX_SEEN:
                self._seen.clear()
            self._seen.add(shape)
            return
        if len(known) >= MAX_FORMS:
            known.clear()
        if self._blanks is None:
            self._blanks = Blanks(self._signatures)
        known[shape] = form_of(line, self._provenance, self._blanks, ready=ready)

    def _take_forms(self, lines: Sequence[str], forms: Sequence[Form | None], begin: int) -> int:
        """Take lines while their forms say all of them; returns the place of the next one.

        What a line changes, the next one changes again: it is done for the last one.
        """
        provenance, quoted = self._provenance, self._provenance.quoted
        if forms[begin] is None or not (self._carriers.is_plain and provenance.is_quiet):
            return begin
        ready, write, process, clients, last = self._run.ready, provenance.write, "", False, None
        at, end = begin, len(lines)
        while at < end and (form := forms[at]) is not None:
            raw, name = lines[at], form.process_of(lines[at])
            source = form.source_of(raw)
            record = quoted.records.get(name) if form.level else None
            if record is not None and record.source == source:
                after, clients = _same_head(lines, forms, at), True
            elif form.words is Words.CLIENT:
                quoted.begin(name, source, form.rest, None)
                after, clients = at + 1, True
            elif form.words is Words.ENGINE and not self._run.tracebacks.within(name):
                quoted.end(name)
                after, clients = _same_form(lines, forms, at), False
                for shown in lines[max(at, after - TAIL_LINES) : after]:
                    self._tail.append(shown[form.shown :].strip()[:TAIL_CHARACTERS])
            elif not form.level and (rest := quoted.rest_of(name)):
                after, clients = _bare(forms, at, min(end, at + rest)), True
                quoted.went_on(name, after - at, None)
            else:
                break
            if clients:
                self._keep_a_client()
            write = (name or write or "") if clients or ready else None
            process, last, at = name, forms[after - 1], after
        if last is not None:
            self._at = None
            provenance.took_forms(at - begin, write, clients=clients)
            self._keep_in_mind(last, lines[at - 1], process, clients=clients)
        return at

    def _keep_in_mind(self, form: Form, raw: str, process: str, *, clients: bool) -> None:
        if self._run.ready and self._followers is not None:
            may_quote = clients or not form.of_itself
            self._followers.took(may_quote=may_quote, is_open=form.odd_quotes)
        if clients:
            self._wrapped.forget()
        else:
            self._wrapped.keep(raw[form.text :].rstrip(), process, form.width)


def _same_form(lines: Sequence[str], forms: Sequence[Form | None], at: int) -> int:
    """Return the end of the lines of one form and process that follow each other."""
    form, after = forms[at], at + 1
    named = lines[at][: form.named[1]] if form is not None and form.process is None else ""
    while after < len(forms) and forms[after] is form and lines[after].startswith(named):
        after += 1
    return after


def _same_head(lines: Sequence[str], forms: Sequence[Form | None], at: int) -> int:
    """Return the end of the lines that begin as this one does, with vLLM's own prefix."""
    form, after = forms[at], at + 1
    head = lines[at][: form.text if form is not None else 0]
    while after < len(lines) and (next_ := forms[after]) is not None:
        if next_.text != len(head) or not lines[after].startswith(head):
            break
        after += 1
    return after


def _bare(forms: Sequence[Form | None], at: int, end: int) -> int:
    """Return the end of the lines without a prefix of one process that begin nothing."""
    form, after = forms[at], at + 1
    if form is None or form.process is None:
        return after
    process = form.process
    while after < end and (next_ := forms[after]) is not None:
        if next_.level or next_.words is not Words.ASK or next_.process != process:
            break
        after += 1
    return after
