# SPDX-License-Identifier: Apache-2.0
"""What a live vLLM said of itself over HTTP; the raw material of verification."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from types import MappingProxyType

from agent.core.record import dataclass

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One entry of /v1/models; `max_model_len` is the effective one, in tokens."""

    id: str
    root: str | None = None
    max_model_len: int | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer of the model; `seconds` from request to last byte.

    `token_ids` are those that it generated, () where the engine was not asked or does not say.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str | None
    seconds: float
    token_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Why something is not known.

    `broken` when the server was asked and failed to do its work, `refused` when its front end let
    nothing through, which says nothing of the engine.
    """

    why: str
    broken: bool = False
    refused: bool = False

    def __str__(self) -> str:
        """Return the reason alone."""
        return self.why


NOT_ASKED = NoAnswer("not asked")


@dataclass(frozen=True, slots=True)
class Done:
    """A piece of the model's own work: `item` names the kind, `what` what came of it.

    `values` are the numbers or the text themselves, `logits` the numbers before their activation,
    () where that is not known or they are an embedding's; `seconds` from request to last byte.
    """

    item: str
    path: str
    what: str
    values: tuple[float, ...] | str
    seconds: float
    logits: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class PrefixProbe:
    """The prefix-cache hit counter around the second sending of one prompt.

    `others` when foreign requests ran meanwhile, so that the hits may be theirs.
    """

    prompt_tokens: int
    hits_before: float
    hits_after: float
    others: bool


_NO_BESIDES: Mapping[str, Done | NoAnswer] = MappingProxyType({})
_NO_ADAPTERS: Mapping[str, Completion | Done | NoAnswer] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ApiFacts:
    """The answers to one round of questions; `cache_config` are vllm:cache_config_info's labels.

    `work` is a piece of whatever work the model does, `completion` one of a model that generates.
    `besides` are the other ways in which one that generates can be asked: by chat, with a picture;
    what it has no template or no eyes for is not there. `alone`: no other requests ran then.
    `adapters` are what the LoRA adapters that are asked for did, by name; those listed only.
    `engines` are the labels of the engines that /metrics tells of, () where it was not read.
    """

    version: str | None = None
    models: tuple[ServedModel, ...] | NoAnswer = NOT_ASKED
    cache_config: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    work: Done | NoAnswer = NOT_ASKED
    completion: Completion | NoAnswer = NOT_ASKED
    prefix: PrefixProbe | NoAnswer = NOT_ASKED
    besides: Mapping[str, Done | NoAnswer] = field(default_factory=lambda: _NO_BESIDES)
    alone: bool = False
    engines: tuple[str, ...] = ()
    adapters: Mapping[str, Completion | Done | NoAnswer] = field(
        default_factory=lambda: _NO_ADAPTERS
    )

    @property
    def answer(self) -> Completion | Done | None:
        """What the model gave alone for a fixed question; None where others were at work."""
        if not self.alone:
            return None
        if isinstance(self.completion, Completion):
            return self.completion
        return self.work if isinstance(self.work, Done) else None

    @property
    def answers_of_adapters(self) -> Mapping[str, Completion | Done]:
        """What LoRA adapters gave alone for the same question, by name."""
        given = self.adapters if self.alone else {}
        return {name: did for name, did in given.items() if not isinstance(did, NoAnswer)}

    @property
    def answered(self) -> bool:
        """Whether the model did a piece of its work."""
        return isinstance(self.work, Done)
