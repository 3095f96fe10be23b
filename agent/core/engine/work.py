# SPDX-License-Identifier: Apache-2.0
"""The kinds of work that a served model does, the smallest piece of each, and what must come of it.

Paths and bodies: the API routers of vLLM 0.8..0.33 (entrypoints/openai, entrypoints/pooling). Since
0.12 a server has the routes of its model's work only; before, it has all and refuses the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from agent.core.record import dataclass

TEXT = "The capital of France is"
CLAIM = "Paris is the capital of France."

COMPLETIONS = "/v1/completions"
CANARY_PROMPT = (1,)
"""One token id that every vocabulary has, so that no tokenizer is involved."""


@dataclass(frozen=True, slots=True)
class Came:
    """What came of a request: `what` for a person, `values` to compare with another time."""

    what: str
    values: tuple[float, ...] | str


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of work: its name in the verification list, and how the smallest piece is asked for.

    `body` makes the JSON of the request for a model; `read` returns what came, None for an answer
    that proves nothing. `is_audio`: the request is a form with a second of silence.
    """

    item: str
    path: str
    body: Callable[[str], Mapping[str, Any]]
    read: Callable[[Any], Came | None]
    is_audio: bool = False


def _numbers(values: object, of: str, *, may_be_zero: bool = False) -> Came | None:
    """Read numbers; an embedding of zeros only is none, a score or a reward may be 0."""
    if not isinstance(values, list) or not values:
        return None
    if isinstance(values[-1], list):
        # A row for each token (reward models, ColBERT): the last one depends on all of the text.
        last = _numbers(values[-1], of, may_be_zero=may_be_zero)
        return None if last is None else Came(f"{last.what} of the last token", last.values)
    numbers = tuple(
        float(value)
        for value in values
        if isinstance(value, int | float) and not isinstance(value, bool)
    )
    if len(numbers) != len(values) or not all(map(math.isfinite, numbers)):
        return None
    if not may_be_zero and not any(numbers):
        return None
    return Came(f"{len(numbers)} {of.removesuffix('s') if len(numbers) == 1 else of}", numbers)


def _tokens(document: Any) -> Came | None:
    match document:
        case {"choices": [{"text": str(text)}, *_], "usage": {"completion_tokens": int(made)}}:
            return Came(f"{made} tokens", text) if made > 0 else None
        case _:
            return None


def _embedding(document: Any) -> Came | None:
    match document:
        case {"data": [{"embedding": values}, *_]}:
            return _numbers(values, "numbers")
        case _:
            return None


def _classes(document: Any) -> Came | None:
    match document:
        case {"data": [{"probs": values}, *_]}:
            return _numbers(values, "probabilities")
        case _:
            return None


def _score(document: Any) -> Came | None:
    match document:
        case {"data": [{"score": value}, *_]}:
            return _numbers([value], "scores", may_be_zero=True)
        case _:
            return None


def _ranked(document: Any) -> Came | None:
    match document:
        case {"results": [{"relevance_score": _}, *_] as results}:
            scores = [one.get("relevance_score") for one in results if isinstance(one, dict)]
            return _numbers(scores, "scores", may_be_zero=True)
        case _:
            return None


def _pooled(document: Any) -> Came | None:
    match document:
        case {"data": [{"data": values}, *_]}:
            return _numbers(values, "numbers", may_be_zero=True)
        case _:
            return None


def _reply(document: Any) -> Came | None:
    """Read a chat's answer; a model that thinks first has no content after one token."""
    match document:
        case {"choices": [{"message": {}}, *_], "usage": {"completion_tokens": int(made)}}:
            return Came(f"{made} tokens", str(made)) if made > 0 else None
        case _:
            return None


def _transcript(document: Any) -> Came | None:
    match document:
        case {"text": str(text)}:
            return Came(f"{len(text)} characters of a second of silence", text)
        case _:
            return None


COMPLETION = Work(
    "completion",
    COMPLETIONS,
    lambda model: {
        "model": model,
        "prompt": list(CANARY_PROMPT),
        "max_tokens": 1,
        "temperature": 0,
    },
    _tokens,
)
WORKS: Sequence[Work] = (
    COMPLETION,
    Work("embedding", "/v1/embeddings", lambda m: {"model": m, "input": TEXT}, _embedding),
    Work("score", "/score", lambda m: {"model": m, "text_1": TEXT, "text_2": CLAIM}, _score),
    Work("classification", "/classify", lambda m: {"model": m, "input": TEXT}, _classes),
    Work("pooling", "/pooling", lambda m: {"model": m, "input": TEXT}, _pooled),
    Work(
        "transcription",
        "/v1/audio/transcriptions",
        lambda m: {"model": m, "temperature": "0"},
        _transcript,
        is_audio=True,
    ),
)
"""In the order in which they are tried: an embedding model has /score and /pooling, too, a model
that scores has /classify, and every model that pools has /pooling."""


PICTURE = "data:image/png;base64," + (
    "iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAIAAAAlC+aJAAAAS0lEQVR42u3PMQ0AAAwDoEqv9ErYvQQckD4XAQEB"
    "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAYHLAB8+AWnmfUycAAAAAElFTkSuQmCC"
)
"""A grey picture of 64 by 64 pixels. Not of one pixel: the processors of Qwen's models refuse what
is smaller than one of their patches (28 or 32 pixels)."""

CHAT = Work(
    "chat",
    "/v1/chat/completions",
    lambda model: _chat(model, TEXT),
    _reply,
)
IMAGE = Work(
    "image",
    "/v1/chat/completions",
    lambda model: _chat(
        model,
        [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": PICTURE}},
        ],
    ),
    _reply,
)

RERANK = Work(
    "rerank",
    "/rerank",
    lambda m: {"model": m, "query": TEXT, "documents": [CLAIM, TEXT]},
    _ranked,
)
OTHER_WAYS: Mapping[str, Sequence[Work]] = MappingProxyType(
    {COMPLETION.item: (CHAT, IMAGE), "score": (RERANK,)}
)
"""By the item of a model's own work: how else clients ask it for the same."""


USE_ACTIVATION = "use_activation"
BEFORE_ACTIVATION: Mapping[str, Sequence[tuple[tuple[int, int, int], str]]] = MappingProxyType(
    {
        "score": (((0, 11, 1), USE_ACTIVATION), ((0, 10, 1), "activation")),
        "classification": (((0, 11, 1), USE_ACTIVATION), ((0, 10, 1), "activation")),
        "pooling": (((0, 11, 1), USE_ACTIVATION),),
    }
)
"""By item: from which release on which field of a request, set to false, has vLLM give numbers as
they are before their activation, the latest first (the protocols of 0.10.1, 0.10.2, 0.11.0, 0.11.1,
0.12.0, 0.32 and 0.33)."""


def switch_of_activation(item: str, release: tuple[int, ...]) -> str:
    """Return the request's field that turns the activation off, "" where there is none."""
    known = BEFORE_ACTIVATION.get(item, ())
    return next((name for since, name in known if release >= since), "")


MOST_REWARDS = 15
"""Of more numbers /pooling gives an embedding of each token, and no reward."""


def is_squeezed(values: tuple[float, ...]) -> bool:
    """Tell whether an activation may have made these numbers: near 0 and 1 they hide a change."""
    return all(0 <= value <= 1 for value in values)


def logits_of(
    item: str, values: tuple[float, ...], without: tuple[float, ...] | None
) -> tuple[float, ...]:
    """Return what the numbers of an answer were before their activation, () where it is not known.

    `without` are those that came with the activation turned off, None where that was not asked.
    """
    has_head = item in BEFORE_ACTIVATION and (item != "pooling" or len(values) <= MOST_REWARDS)
    if without is not None and without != values:
        return without
    if not is_squeezed(values):
        return values if has_head else ()
    # A reward has no activation; where scores have none to turn off, the field may be ignored.
    return values if has_head and item == "pooling" and without is not None else ()


def _chat(model: str, content: object) -> Mapping[str, Any]:
    return {
        "model": model,
        "messages": [{"role": "user", "content": content}],
        "max_tokens": 1,
        "temperature": 0,
    }


def works_of(routes: frozenset[str] | None) -> Sequence[Work]:
    """Return the kinds of work that a server with these routes may do; None: all may be there."""
    if routes is None:
        return WORKS
    return tuple(work for work in WORKS if work.path in routes)
