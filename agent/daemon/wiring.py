# SPDX-License-Identifier: Apache-2.0
"""Puts the daemon together: which threads there are, and who may call whom."""

from __future__ import annotations

import contextlib
import queue
import signal
from dataclasses import field
from functools import partial
from pathlib import Path

from agent.core.diagnosis.signatures import SignatureSet
from agent.core.past.past import Past
from agent.core.record import dataclass
from agent.core.settings.config import Config
from agent.core.state.actions import (
    Action,
    FetchAction,
    GpuAction,
    NotifyAction,
    Reexecute,
)
from agent.core.state.host import HostState
from agent.core.state.phases import Phase
from agent.core.state.policy import HostPolicy
from agent.core.state.service import ServiceState
from agent.core.state.steering.asked import Answer
from agent.daemon.beginning import load_config, open_store, reexecute, removal
from agent.daemon.clock import Clock, agent_clock
from agent.daemon.effectors.gpu import GpuEffector
from agent.daemon.effectors.lane import Lane
from agent.daemon.effectors.unit import UnitEffector
from agent.daemon.exporter.past_file import read_past, write_past
from agent.daemon.exporter.source import ExporterSource, page_of
from agent.daemon.fetch_threads import Fetches
from agent.daemon.host_threads import watch_host
from agent.daemon.log import log
from agent.daemon.loop import Loop, Message, Quit, Reload
from agent.daemon.peer_threads import PeerThreads
from agent.daemon.people import People
from agent.daemon.places import Places
from agent.daemon.publisher import Publisher, Unshown
from agent.daemon.recorder import Recorder
from agent.daemon.service_threads import ServiceThreads, threads_of
from agent.daemon.sources.api import ApiSource, Watched
from agent.daemon.sources.checkup import CheckupSource
from agent.daemon.sources.gpus import GpuSource
from agent.daemon.sources.journal import JournalSource, source_name
from agent.daemon.sources.kernel import CURSOR_NAME, KernelSource
from agent.daemon.sources.thread import SourceThread
from agent.daemon.sources.units import UnitSource
from agent.host.data.signatures import load_signatures
from agent.host.data.xids import load_xids
from agent.host.machine.boot import boot_id
from agent.host.machine.line_mark import LineMark, LineMarks
from agent.host.machine.lock import InstanceLock
from agent.host.machine.reading_mark import ReadingMark
from agent.host.nvidia.driver_files import DriverFiles
from agent.host.nvidia.nvml import Nvml
from agent.host.systemd import notify

JOIN_SECONDS = 0.3


@dataclass(slots=True)
class Daemon:
    """All threads but the deciding one; the loop calls it to watch, to act and to publish."""

    places: Places
    clock: Clock
    messages: queue.SimpleQueue[Message]
    recorder: Recorder
    publisher: Publisher
    past: Past
    marks: LineMarks = field(init=False)
    signatures: SignatureSet = field(init=False)
    unit_source: UnitSource = field(init=False)
    unit_thread: SourceThread = field(init=False)
    kernel_source: KernelSource = field(init=False)
    kernel_thread: SourceThread = field(init=False)
    gpu_lane: Lane[GpuAction] = field(init=False)
    fetches: Fetches = field(init=False)
    gpu_source: GpuSource = field(init=False)
    gpu_thread: SourceThread = field(init=False)
    people: People = field(init=False)
    peers: PeerThreads = field(init=False)
    services: dict[str, ServiceThreads] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.marks = LineMarks(self.places.runtime / "lines")
        self.signatures = load_signatures()
        self.unit_source = UnitSource((), self.places.units, self.messages.put, self.clock)
        self.unit_thread = SourceThread(self.unit_source, self.clock)
        self.fetches = Fetches(
            self.places.units, self.signatures, self.publisher, self.messages.put, self.clock
        )
        self.publisher.watch_health(self.unit_thread.health)
        self.publisher.watch_health(self.recorder.health)
        self.unit_thread.start()
        cursor = self.recorder.cursor(CURSOR_NAME)
        emit = self.messages.put
        mark = self.marks.of(KernelSource.name)
        self.kernel_source = KernelSource(cursor, load_xids(), emit, self.clock, mark)
        self.kernel_thread = SourceThread(self.kernel_source, self.clock)
        self.publisher.watch_health(self.kernel_thread.health)
        self.kernel_thread.start()
        self.peers = PeerThreads(self.publisher, emit, self.clock)
        self.people = People(self.places.runtime, self.recorder.health, emit, self.clock)
        files = DriverFiles(self.places.driver)
        self.gpu_source = GpuSource(Nvml(), files, emit, self.clock)
        self.gpu_thread = SourceThread(self.gpu_source, self.clock)
        self.publisher.watch_health(self.gpu_thread.health)
        self.gpu_thread.start()
        gpu = GpuEffector(self.gpu_source.wake, self.clock)
        self.gpu_lane = Lane("gpu", lambda: gpu.carry_out, gpu.failed, emit)

    def watch(self, state: HostState) -> None:
        """Have exactly these services looked after."""
        for name in set(self.services) - set(state.services):
            self.services[name].ahead.forget()
            self.services.pop(name).close(JOIN_SECONDS)
            self.fetches.close(name)
            self.publisher.forget_health(name)
        for name, s in state.services.items():
            if name not in self.services:
                self.services[name] = self._open(s)
        self.unit_source.watch(tuple(state.services))

    def publish(self, state: HostState, policy: HostPolicy, mistakes: tuple[str, ...]) -> Unshown:
        """Show the state; a new phase changes what services and GPUs are asked."""
        self.past.take(state, self.clock())
        self.peers.follow(policy)
        if self.publisher.publish(state, policy, mistakes):
            for threads in self.services.values():
                threads.api.wake()
            self.fetches.follow(state)
            # A start waits for the memory of the run before it, and shows its own processes.
            unsettled = any(s.phase is not Phase.SERVING for s in state.services.values())
            self.gpu_source.watch_processes(wanted=unsettled)
            self.gpu_source.wake()
        self.fetches.replace_hung()
        self.people.replace_if_hung()
        for threads in self.services.values():
            threads.replace_hung()
        return self.publisher.unshown

    def submit(self, action: Action) -> None:
        """Hand an action to who carries it out."""
        if isinstance(action, Reexecute):
            self.messages.put(Quit(again=True))
            return
        if isinstance(action, Answer | NotifyAction):
            self.people.submit(action)
            return
        if isinstance(action, GpuAction):
            self.gpu_lane.submit(action)
            return
        if action.service not in self.services:
            return
        if isinstance(action, FetchAction):
            self.fetches.submit(action)
            return
        self.services[action.service].submit(action)

    def cursors(self) -> dict[str, str]:
        """Return how far each journal has been read."""
        known = {name: threads.journal.cursor for name, threads in self.services.items()}
        known[CURSOR_NAME] = self.kernel_source.cursor
        return {name: cursor for name, cursor in known.items() if cursor}

    def close(self) -> None:
        """End all threads within a second; what hangs is left behind."""
        self.marks.release()
        own = (self.unit_thread, self.kernel_thread, self.gpu_thread)
        of_services = [source for threads in self.services.values() for source in threads.sources]
        for thread in (*own, *of_services):
            thread.ask_to_stop()
        self.gpu_lane.close()
        self.people.close()
        self.peers.close()
        for name, threads in self.services.items():
            threads.close(JOIN_SECONDS)
            self.fetches.close(name)
        for thread in own:
            thread.join(JOIN_SECONDS)

    def _open(self, s: ServiceState) -> ServiceThreads:
        name = s.name
        cursor = self.recorder.cursor(name) if s.phase is Phase.SERVING else None
        emit = self.messages.put
        at, mark = s.invocation_id, self.marks.of(source_name(name))
        journal = JournalSource(name, at, cursor, self.signatures, emit, self.clock, mark)
        threads = threads_of(
            journal,
            ApiSource(name, lambda: self._watched(name), emit, self.clock),
            partial(UnitEffector, self.places.units, self.unit_source.wake),
            self.places.state,
            emit,
            self.clock,
        )
        self.publisher.watch_lines(name, journal.lines)
        for source in threads.sources:
            self.publisher.watch_health(source.health)
            source.start()
        return threads

    def _watched(self, name: str) -> Watched | None:
        state, policy = self.publisher.latest
        s = state.services.get(name)
        if s is None or not s.invocation_id or s.running is None or s.running.headless:
            return None
        seconds = policy.services[name].recovery.poll_seconds if name in policy.services else 5.0
        return Watched(s.phase, s.invocation_id, s.running, seconds)


def run(config_file: Path) -> int:
    """Run the daemon until SIGTERM or SIGINT; returns the exit status.

    Does not return when another driver was loaded: a new process takes this one's place.
    Raises ConfigError when agent.toml is broken and no earlier one is known, AgentError when
    another llmagent runs.
    """
    clock, places = agent_clock(), Places(config_file)
    with contextlib.closing(InstanceLock(places.runtime / "lock")):
        store, volatile = open_store(places.state, places.runtime)
        with store:
            recorder = Recorder(store, volatile, LineMark(places.runtime / "row"))
            config, mistakes = load_config(places.config, recorder)
            again = _run(places, clock, recorder, config, mistakes)
    if again:
        reexecute()
    return 0


def _run(
    places: Places, clock: Clock, recorder: Recorder, config: Config, mistakes: tuple[str, ...]
) -> bool:
    """Returns whether the agent is to start anew in this process."""
    messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
    publisher = Publisher(places.runtime / "status.json", clock)
    past = read_past(places.runtime, clock())
    page = page_of(publisher.snapshot, past, recorder.file, clock, config.fleet)
    exporter = SourceThread(ExporterSource(publisher.snapshot, config.metrics, page), clock)
    publisher.watch_health(exporter.health)
    daemon = Daemon(places, clock, messages, recorder, publisher, past)
    host = watch_host(publisher, clock) if config.metrics.host else ()
    checkup = SourceThread(CheckupSource(lambda: publisher.latest, messages.put, clock), clock)
    publisher.watch_health(checkup.health)
    control = SourceThread(daemon.people.control, clock)
    publisher.watch_health(control.health)
    beside = (exporter, checkup, control, *host)
    loop = Loop(
        messages,
        recorder,
        places.config,
        config,
        clock,
        submit=daemon.submit,
        publish=daemon.publish,
        watch=daemon.watch,
        cursors=daemon.cursors,
        mark=ReadingMark(places.runtime / "reading"),
        unread=daemon.marks.told(),
    )
    signal.signal(signal.SIGTERM, lambda *_: messages.put(Quit()))
    signal.signal(signal.SIGINT, lambda *_: messages.put(Quit()))
    signal.signal(signal.SIGHUP, lambda *_: messages.put(Reload()))
    with removal(places.state) as reinstalled:
        loop.begin(boot_id(), mistakes, reinstalled=reinstalled)
    for thread in beside:
        thread.start()
    notify.ready(f"{len(config.services)} services" if config.services else "no service configured")
    if not config.services:
        log.info(f"no service is configured: write one into {places.config}, then reload")
    again = False
    try:
        again = loop.run()
    finally:
        # To systemd a new process in the same place is a reload: it waits for the next READY=1.
        notify.reloading() if again else notify.stopping()
        for thread in beside:
            thread.ask_to_stop()
        daemon.close()
        write_past(places.runtime, past)
        for thread in beside:
            thread.join(JOIN_SECONDS)
    return again
