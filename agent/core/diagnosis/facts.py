# SPDX-License-Identifier: Apache-2.0
"""What the engine says of itself: values by name, each with the log line that proves it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, fields

from agent.core.diagnosis.failure_lines import excerpt, shorten
from agent.core.diagnosis.numbers import to_float
from agent.core.diagnosis.signatures import Match
from agent.core.record import dataclass

FactValue = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Facts:
    """What was read from the log; None is "not said", or "None" said (then there is a proof).

    Sizes in GiB, lengths in tokens, times in seconds. Values are those in force, unless said.
    """

    quantization: str | None = None
    kv_cache_dtype: str | None = None
    linear_kernel: str | None = None
    moe_kernel: str | None = None
    attention_backend: str | None = None
    """The name that vLLM has used since 0.12 (FLASH_ATTN, FLASHINFER, ...), whatever was
    printed."""

    flash_attention_version: int | None = None
    weights_gib: float | None = None
    available_kv_gib: float | None = None
    least_kv_gib: float | None = None
    """The least of all `available_kv_gib` that were printed: each GPU's process prints its own."""

    reserved_kv_gib: float | None = None
    """Said to be reserved for the KV cache as specified, not as measured."""

    kv_cache_tokens: int | None = None
    max_concurrency: float | None = None
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    """As it was asked."""

    max_num_batched_tokens: int | None = None
    """As it was asked."""

    gpu_memory_utilization: float | None = None
    """As it was asked."""

    total_gib: float | None = None
    cuda_graph_gib: float | None = None
    cuda_graph_estimate_gib: float | None = None
    equivalent_utilization: float | None = None
    unified_memory: bool | None = None
    model: str | None = None
    served_model_name: str | None = None
    architecture: str | None = None
    engine: str | None = None
    dtype: str | None = None
    """Without "torch."."""

    device: str | None = None
    tensor_parallel_size: int | None = None
    pipeline_parallel_size: int | None = None
    data_parallel_size: int | None = None
    enforce_eager: bool | None = None
    enable_prefix_caching: bool | None = None
    enable_chunked_prefill: bool | None = None
    load_format: str | None = None
    non_default_args: str | None = None
    """What was asked, as vLLM prints it."""

    ignored_environment: str | None = None
    """Names of variables that this vLLM does not read, joined by ", "."""

    aot_artifact: str | None = None
    """Of what torch.compile stored as a whole: "loaded", "could not be loaded" or, where nothing
    was stored, "made anew"."""

    aot_refused: str | None = None
    """Why it could not, as torch says it."""

    compiled_graphs: str | None = None
    """"from the cache" for all of them, "compiled" for one or more."""

    engine_gone: bool | None = None
    """The front end says that its engine's process is gone, after which it only ends itself."""

    start_method: str | None = None
    """How the processes are started: "spawn" where vLLM says that it overrules what it was told,
    "fork" where the engine's process was there too soon to have imported anything."""

    startup_plan: str | None = None
    """vLLM's own: "applied", which the agent did not ask for, or "not applied"."""

    weights_from: str | None = None
    kernel_tuning: str | None = None
    address: str | None = None
    download_seconds: float | None = None
    load_seconds: float | None = None
    compile_seconds: float | None = None
    init_seconds: float | None = None
    proofs: Mapping[str, str] = field(default_factory=dict)

    def evidence_for(self, name: str) -> str | None:
        """Return the log line that proves the fact, shortened to the part that matters."""
        return self.proofs.get(name)

    def values(self) -> dict[str, FactValue]:
        """Return all facts by name, None for those that the log does not give."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "proofs"}


_LISTS = frozenset({"ignored_environment"})
"""Facts that gather all that was said, joined by ", "."""

MOST_OF_A_LIST = 16

_TYPES = {f.name: str(f.type) for f in fields(Facts) if f.name != "proofs"}


def is_fact(name: str) -> bool:
    """Tell whether a capture of this name belongs to Facts."""
    return name in _TYPES


class FactBook:
    """Gathers facts line by line; a later line corrects an earlier one, a weak one never does."""

    def __init__(self) -> None:
        self._values: dict[str, FactValue] = {}
        self._proofs: dict[str, str] = {}
        self._weak: set[str] = set()

    def take(self, match: Match, line: str) -> None:
        """Take all that a signature found in a line which tells of no failure."""
        signature, proof = match.signature, shorten(line)
        for name, text in match.captures.items():
            if text is not None and is_fact(name):
                self.learn(name, signature.values.get(text, text), proof, weak=signature.weak)
        for name, pattern in signature.fields:
            found = pattern.search(line)
            if found is not None:
                part = excerpt(line, match.end, found.start(), found.end())
                self.learn(name, found.group(1), part, weak=signature.weak)
        for name, value in signature.fixed.items():
            self.learn(name, value, proof, weak=signature.weak)
        available, blocks = (match.captures.get(name) for name in ("available_kv_gib", "blocks"))
        if available is not None or blocks is not None:
            self.learn_of_kv(available, blocks, proof)

    def learn(self, name: str, text: str, proof: str, *, weak: bool) -> None:
        """Take the value as printed; what does not read as the fact's type is not learned."""
        if weak and name in self._values and name not in self._weak | _LISTS:
            return
        value = _coerce(_TYPES[name], text)
        if value is None and text not in ("None", "null"):
            return
        if name in _LISTS and (before := self._values.get(name)) is not None:
            known = str(before).split(", ")
            value = (
                before if text in known or len(known) >= MOST_OF_A_LIST else f"{before}, {value}"
            )
        self._values[name] = value
        self._proofs[name] = proof
        if weak:
            self._weak.add(name)
        else:
            self._weak.discard(name)

    def learn_of_kv(self, available_gib: str | None, blocks: str | None, proof: str) -> None:
        """Take what one GPU's process has for the KV cache, in GiB or in blocks of 16 tokens."""
        if (printed := to_float(available_gib or "")) is not None:
            least = to_float(str(self.get("least_kv_gib")))
            lower = printed if least is None else min(printed, least)
            self.learn("least_kv_gib", f"{lower}", proof, weak=False)
        if blocks is not None:
            self.learn("kv_cache_tokens", str(int(blocks) * 16), proof, weak=True)

    def get(self, name: str) -> FactValue:
        """Return the value so far."""
        return self._values.get(name)

    def facts(self) -> Facts:
        """Return what is known so far."""
        return Facts(**self._values, proofs=dict(self._proofs))  # type: ignore[arg-type]


def _coerce(kind: str, text: str) -> FactValue:
    text = text.strip().strip("'\"")
    if text in ("None", "null"):
        return None
    if kind.startswith("str"):
        return text.removeprefix("torch.") or None
    if kind.startswith("bool"):
        return {"True": True, "true": True, "False": False, "false": False}.get(text)
    number = to_float(text)
    if number is None:
        return None
    return int(number) if kind.startswith("int") else round(number, 4)
