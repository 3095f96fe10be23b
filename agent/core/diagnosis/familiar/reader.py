# SPDX-License-Identifier: Apache-2.0
"""A reader of whole logs that knows lines by their shape: what it has read costs a look-up.

An engine that warns a thousand times, and a server that prints the traceback of each refused
request, write lines that differ in their numbers. What such lines change is known from the first of
them, as long as no traceback is open; then it is changed at once. The bounds keep memory flat: a
log of ever new lines is read as without this, and costs a little more.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from copy import deepcopy

from agent.core.diagnosis.familiar.blanks import Blanks
from agent.core.diagnosis.familiar.blocks import Block
from agent.core.diagnosis.familiar.forms import MAX_TWINS, Around, Form, Words, form_of
from agent.core.diagnosis.familiar.rests import Rests
from agent.core.diagnosis.familiar.tails import Tails
from agent.core.diagnosis.lines import Line
from agent.core.diagnosis.provenance import Writer
from agent.core.diagnosis.reader import LogReader
from agent.core.diagnosis.signatures import SignatureSet
from agent.core.diagnosis.usual import Answers, Statistics, Usual, usual

MAX_FORMS = 1_024
"""Shapes of lines whose form is kept; then all are learned anew."""

MAX_SEEN = 4_096
"""Shapes that came once: the second line of one is learned."""

_USUAL = (Words.ANSWER, Words.COUNT)


class FamiliarReader(LogReader):
    """Reads as LogReader does, and whole lines without times at once."""

    def __init__(self, signatures: SignatureSet) -> None:
        super().__init__(signatures)
        self._blanks: Blanks | None = None
        self._forms: dict[bool, dict[str, Form | None]] = {False: {}, True: {}}
        self._seen: set[str] = set()
        self._runs: dict[bool, dict[Hashable, dict[str, Form]]] = {False: {}, True: {}}
        self._prefixes = 0
        self._tails = Tails()
        self._rests = Rests()
        self._answered = False
        """Answers are taken by their forms, and kept as such."""

    def feed_lines(self, text: str, feed: Callable[[str], None]) -> None:
        """Take lines as `feed` would one by one, by it where it must; it hands them on to here.

        The text has no end of its last line.
        """
        block, at = Block(f"{text}\n"), 0
        while at < len(block.text):
            at, taken = self.take_known(block, at, len(block.text), self.known(block, at))
            at = at if taken else self.take_unknown(block, at, feed)
        self.settle()

    def settle(self) -> None:
        """Have all in mind that `feed` would."""
        self._tails.flush(self._tail)

    def leave(self) -> None:
        """Let go of a block whose lines are taken; the last one may be kept until `settle`."""
        if not self._tails.are_few:
            self.settle()

    def _keep(self, line: Line, writer: Writer) -> None:
        self.settle()
        super()._keep(line, writer)

    def _keep_usual(self, shown: Sequence[str]) -> None:
        if not self._answered:
            self.settle()
            super()._keep_usual(shown)

    @property
    def kept(self) -> tuple[str, ...]:
        """The last lines as they are read."""
        self.settle()
        return super().kept

    def copy(self) -> FamiliarReader:
        """Return a reader that has read the same, and has yet to learn forms."""
        self.settle()
        other = FamiliarReader(self._signatures)
        learned = ("_forms", "_runs", "_seen", "_blanks", "_prefixes", "_tails", "_rests")
        mind = {name: value for name, value in vars(self).items() if name not in learned}
        kept = (self._signatures, self._signatures.places, self._signatures.writers)
        vars(other).update(deepcopy(mind, {id(one): one for one in kept}))
        other._blanks = self._blanks
        return other

    @property
    def has_understood_nothing(self) -> bool:
        """Whether no line so far told anything, nor leaves anything open."""
        told = self._run.lines or self._before is not None or self._carriers.engine_spoke
        quoted = self._provenance.quoted.records or not self._provenance.is_quiet
        return not (told or quoted or self._carriers.prefixes)

    @property
    def serves(self) -> bool:
        """Whether the run has come up: forms of before are others."""
        return self._run.ready

    def take_unknown(self, block: Block, at: int, feed: Callable[[str], None]) -> int:
        """Take one line by `feed`, and learn its form; returns the place of the next."""
        line, ready = block.line_at(at), self.serves
        feed(line)
        self.learn(block.shape_at(at), line, ready=ready)
        return at + len(line) + 1

    def known(self, block: Block, at: int) -> Form | None:
        """Return the form of a line that may be taken at once."""
        if not (self._carriers.engine_spoke and self._provenance.is_quiet):
            return None
        self._look_at_prefixes()
        form = self._forms[self._run.ready].get(block.shape_at(at))
        if form is not None and form.held:
            form = form.of(block.line_at(at))
        odd = form is not None and form.asked and form.asked not in block.line_at(at)
        return None if odd else form

    def take_known(self, block: Block, at: int, stop: int, form: Form | None) -> tuple[int, int]:
        """Take lines of one writer while their forms say all of them.

        Returns the place of the next, and how many they are. `form` is that of the first of them,
        as `known` gives it.
        """
        if form is None:
            return at, 0
        if form.answer is not None:
            return self._take_answers(block, at, stop, form, form.answer)
        if form.words is Words.COUNT:
            return self._take_count(block, at, form)
        return self._take_forms(block, at, stop, form)

    def learn(self, shape: str, line: str, *, ready: bool, who: tuple[str, str] = ("", "")) -> None:
        """Learn the form of a line that was taken, where its shape came before.

        `ready`: whether it served before; `who` wrote it, and what of the line tells so.
        """
        if not self._carriers.engine_spoke:
            return
        self._look_at_prefixes()
        known = self._forms[ready]
        if shape not in known and shape not in self._seen:
            if len(self._seen) >= MAX_SEEN:
                self._seen.clear()
            self._seen.add(shape)
            return
        first = known.get(shape)
        marks = first.marks_of(line) if first is not None else ()
        if shape in known and (first is None or marks == first.marks or marks in first.twins):
            return
        if first is not None and len(first.twins) >= MAX_TWINS:
            return
        if self._blanks is None:
            self._blanks = Blanks(self._signatures)
        around = Around(self._provenance, self._carriers, self._blanks, *who, ready)
        form = form_of(line, around)
        if first is not None:
            form = form if form is not None and form.held == first.held else None
            first.twins[marks] = form
        else:
            if len(known) >= MAX_FORMS:
                known.clear()
                self._runs[ready].clear()
            known[shape] = form
        if form is not None and form.run is not None:
            self._runs[ready].setdefault(form.run, {})[shape] = form

    def forget_forms(self) -> None:
        """Learn all forms anew: what stands before the lines is read otherwise from here on."""
        self._rests.forget()
        for ready in (False, True):
            self._forms[ready].clear()
            self._runs[ready].clear()

    def _look_at_prefixes(self) -> None:
        if self._carriers.prefixes != self._prefixes:
            self._prefixes = self._carriers.prefixes
            self.forget_forms()

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
        self._tails.add_client()
        self._wrapped.forget()
        if self._run.ready and self._followers is not None:
            self._followers.forget()
        return True

    def _take_answers(
        self, block: Block, at: int, stop: int, form: Form, kind: Answers
    ) -> tuple[int, int]:
        """Take answers of one kind that follow each other."""
        run = self._runs[self._run.ready][form.run]
        shapes, length = block.run(at, stop, run, form)
        after, work, probes, told = at + length, 0, 0, 0
        for asked, answer in {run[s].asked: run[s].answer or kind for s in set(shapes)}.items():
            times = block.text.count(asked, at, after)
            work, probes = work + times * answer.work, probes + times * answer.probes
            told += times
        if told != len(shapes):  # what is no answer, of the shape of one, stands among them
            shapes, after = shapes[:1], at + len(shapes[0]) + 1
            work, probes = kind.work, kind.probes
        lines = block.text[at : after - 1]
        ends = ((shapes[0], lines[: len(shapes[0])]), (shapes[-1], lines[-len(shapes[-1]) :]))
        bare = [run[shape].shown_of(line) for shape, line in ends]
        said = kind._replace(work=work, probes=probes, lines=shapes, bare=bare)
        clients = self._provenance.quoted.rest_of(kind.process)
        self._at, self._answered = None, True
        taken = self._take_usual(said)
        self._answered = False
        if not taken:
            for line in lines.split("\n"):
                self.feed(line)
        elif not clients:
            self._tails.add_lines(run, shapes, block, at, after)
        return after, len(shapes)

    def _take_count(self, block: Block, at: int, form: Form) -> tuple[int, int]:
        """Take a line of statistics."""
        line = block.line_at(at)
        said = usual(form.shown_of(line))
        if isinstance(said, Statistics):
            before = form.carrier
            self.feed_usual(said._replace(line=line, bare=said.line, carrier=before, form=before))
        else:
            self.feed(line)
        return at + len(line) + 1, 1

    def _take_forms(self, block: Block, begin: int, stop: int, form: Form) -> tuple[int, int]:
        """Take lines while their forms say all of them.

        What a line changes, the next one changes again: it is done for the last one.
        """
        provenance, quoted = self._provenance, self._provenance.quoted
        known, ready, origin = self._forms[self._run.ready], self._run.ready, form.origin
        write, last, process, clients, line = provenance.write, None, "", False, ""
        at, taken = begin, 0
        while at < stop:
            shape, line_here = block.shape_at(at), block.line_at(at)
            found = known.get(shape)
            if found is not None and found.held:
                found = found.of(line_here)
            if found is None or found.words in _USUAL or found.origin != origin:
                break
            name, source = found.process_of(line_here), found.source_of(line_here)
            record = quoted.records.get(name) if found.level else None
            goes_on = record is not None and record.source == source
            rest = quoted.rest_of(name) if not found.level else 0
            count, length, here_clients = 1, len(line_here) + 1, True
            if found.words is Words.CLIENT and not goes_on:
                quoted.begin(name, source, found.rest, None)
            elif goes_on or rest:
                most, of = (len(block.text), source) if goes_on else (rest, "")
                more = self._rests.take(block, at, stop, most, (found, name, of), known)
                count, length, found = more.count, len(more.shape), more.last
                if not goes_on:
                    quoted.went_on(name, count, None)
            elif found.words is Words.ENGINE and not self._run.tracebacks.within(name):
                quoted.end(name)
                count = block.same_shape(at, f"{shape}\n", found, stop)
                self._tails.add_run(found, block, at, at + count * length, count)
                at, here_clients = at + (count - 1) * length, False
                line_here = block.line_at(at)
            else:
                break
            clients, line, form = here_clients, line_here, found
            if clients:
                self._tails.add_client()
            write = (name or write or "") if clients or ready else None
            process, last = name, form
            at, taken = at + length, taken + count
        if last is not None:
            self._at = None
            provenance.took_forms(taken, write, clients=clients)
            self._keep_in_mind(last, line, process, clients=clients)
        return at, taken

    def _keep_in_mind(self, form: Form, raw: str, process: str, *, clients: bool) -> None:
        if self._run.ready and self._followers is not None:
            may_quote = clients or not form.of_itself
            self._followers.took(may_quote=may_quote, is_open=form.odd_quotes)
        if clients:
            self._wrapped.forget()
        else:
            self._wrapped.keep(form.text_of(raw), process, form.width)
