# SPDX-License-Identifier: Apache-2.0
"""A reader of whole logs that knows lines by their shape: what it has read costs a look-up.

An engine that warns a thousand times, and a server that prints the traceback of each refused
request, write lines that differ in their numbers. What such lines change is known from the first of
them, as long as no traceback and no other carrier is open; then it is changed at once. The bounds
keep memory flat: a log of ever new lines is read as without this, and costs a little more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from agent.core.diagnosis.familiar.blanks import Blanks
from agent.core.diagnosis.familiar.blocks import Bare, Block
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
        self._bare: Bare | None = None

    def feed_lines(self, text: str, feed: Callable[[str], bool]) -> int:
        """Take lines as `feed` would one by one, by it where it must; returns where it stopped.

        `feed` hands a line on to this reader, and tells whether others than it may read the next.
        The text has no end of its last line: a place beyond its length is that of no line.
        """
        block = Block(text)
        at, alone = 0, True
        while at <= len(text) and alone:
            known = self._forms[self._run.ready]
            after = self._take_forms(block, known, at)
            if after == at:
                stop = block.end(at)
                ready, line = self._run.ready, text[at:stop]
                alone = feed(line)
                self._learn(block.shape[at:stop], line, ready=ready)
                after = stop + 1
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

    def _take_forms(self, block: Block, known: Mapping[str, Form | None], begin: int) -> int:
        """Take lines while their forms say all of them; returns the place of the next one.

        What a line changes, the next one changes again: it is done for the last one.
        """
        provenance, quoted, text = self._provenance, self._provenance.quoted, block.text
        if not (self._carriers.is_plain and provenance.is_quiet):
            return begin
        ready, write, taken = self._run.ready, provenance.write, 0
        last, process, clients, line = None, "", False, ""
        at = begin
        while at <= len(text) and (form := known.get(block.shape[at : block.end(at)])) is not None:
            line = text[at : block.end(at)]
            name, source = form.process_of(line), form.source_of(line)
            record = quoted.records.get(name) if form.level else None
            if record is not None and record.source == source:
                after, count, line = block.same_head(known, at, line[: form.text])
                clients = True
            elif form.words is Words.CLIENT:
                quoted.begin(name, source, form.rest, None)
                after, count, clients = at + len(line) + 1, 1, True
            elif form.words is Words.ENGINE and not self._run.tracebacks.within(name):
                quoted.end(name)
                after, count = block.same_shape(at, form)
                clients, shown = False, block.last_lines(at, after, TAIL_LINES)
                self._tail.extend(s[form.shown :].strip()[:TAIL_CHARACTERS] for s in shown)
                line = shown[-1]
            elif not form.level and (rest := quoted.rest_of(name)):
                after, self._bare = block.bare(known, at, form, rest, self._bare or Bare(form))
                count, form = len(self._bare.shapes) + 1, self._bare.last
                quoted.went_on(name, count, None)
                clients = True
            else:
                break
            if clients:
                self._keep_a_client()
            write = (name or write or "") if clients or ready else None
            process, last, at, taken = name, form, after, taken + count
        if last is not None:
            self._at = None
            provenance.took_forms(taken, write, clients=clients)
            self._keep_in_mind(last, line, process, clients=clients)
        return at

    def _keep_in_mind(self, form: Form, raw: str, process: str, *, clients: bool) -> None:
        if self._run.ready and self._followers is not None:
            may_quote = clients or not form.of_itself
            self._followers.took(may_quote=may_quote, is_open=form.odd_quotes)
        if clients:
            self._wrapped.forget()
        else:
            self._wrapped.keep(raw[form.text :].rstrip(), process, form.width)
