# SPDX-License-Identifier: Apache-2.0
"""What the server lists and what it did when it was asked for work, as items of verification."""

from __future__ import annotations

import json
from collections.abc import Iterator

from agent.core.command.picture import Picture, picture_of
from agent.core.engine.answers import ApiFacts, Completion, Done, NoAnswer
from agent.core.engine.work import CHAT, COMPLETION, IMAGE, RERANK
from agent.core.settings.service import Settings
from agent.core.verify.check import Check, Verdict, unknown

ASKED = {
    CHAT.item: "one real answer to a chat",
    IMAGE.item: "one real answer to a picture",
    RERANK.item: "one real ranking",
}


def served_model(settings: Settings, api: ApiFacts) -> Check:
    """Judge the name under which the model is served."""
    asked = settings.served_model_name or settings.model
    if isinstance(api.models, NoAnswer):
        return unknown("model", asked, api.models.why)
    got = ", ".join(model.id for model in api.models) or "no model"
    served = any(model.id == asked for model in api.models)
    verdict = Verdict.PROVEN if served else Verdict.CONTRADICTED
    return Check("model", asked, got, verdict, f"/v1/models lists {got}")


def work(api: ApiFacts) -> Check:
    """Judge a piece of the model's own work; of one that generates, a whole completion."""
    done = api.work
    if not isinstance(done, Done) or done.item == COMPLETION.item:
        return _completion(api.completion)
    return _did(done, f"one real {done.item}")


def other_ways(api: ApiFacts) -> Iterator[Check]:
    """Judge what came of a chat, of a picture, of a ranking, where the model takes them."""
    for item, answer in api.besides.items():
        asked = ASKED[item]
        match answer:
            case Done():
                yield _did(answer, asked)
            case NoAnswer(why, broken=True):
                yield Check(item, asked, "no answer", Verdict.CONTRADICTED, why)
            case NoAnswer(why):
                yield unknown(item, asked, why)


def _did(done: Done, asked: str) -> Check:
    got = f"{done.what} in {done.seconds:.2f} s"
    return Check(done.item, asked, got, Verdict.PROVEN, f"{done.path} answered with {done.what}")


def adapters(settings: Settings, api: ApiFacts) -> Iterator[Check]:
    """Judge the LoRA adapters that are asked for by name: each is listed, and does its work."""
    wanted = tuple(names_of_adapters(picture_of(settings)))
    if not wanted:
        return
    asked = ", ".join(wanted)
    if isinstance(api.models, NoAnswer):
        yield unknown("lora_modules", asked, api.models.why)
        return
    served = {model.id for model in api.models}
    missing = [name for name in wanted if name not in served]
    failed = {
        name: said.why
        for name, said in api.adapters.items()
        if isinstance(said, NoAnswer) and name not in missing
    }
    right = [name for name in wanted if name in served and name not in failed]
    got = ", ".join(right) or "none of them"
    said = f"/v1/models lists {', '.join(n for n in wanted if n in served) or 'none of them'}"
    said += f", not {', '.join(missing)}" if missing else ""
    answered = [name for name in right if name in api.adapters]
    said += f"; {', '.join(answered)} answered" if answered else ""
    said += "".join(f"; {name}: {why}" for name, why in failed.items())
    broken = any(isinstance(a, NoAnswer) and a.broken for a in api.adapters.values())
    if failed and not broken and not missing:
        yield unknown("lora_modules", asked, said)
        return
    verdict = Verdict.CONTRADICTED if missing or failed else Verdict.PROVEN
    yield Check("lora_modules", asked, got, verdict, said)


def names_of_adapters(picture: Picture) -> Iterator[str]:
    """Give the names of --lora-modules: `name=path`, or a JSON object each (0.6..0.33)."""
    given = picture.options.get("lora_modules")
    values = () if given is None else given.value
    for value in values if isinstance(values, tuple) else (values,):
        match value:
            case {"name": str(name)}:
                yield name
            case str(text) if text.startswith("{"):
                yield from _name_in(text)
            case str(text) if "=" in text:
                yield text.partition("=")[0]


def _name_in(text: str) -> Iterator[str]:
    try:
        match json.loads(text):
            case {"name": str(name)}:
                yield name
    except (ValueError, RecursionError):
        return


def _completion(completion: Completion | NoAnswer) -> Check:
    item, asked, call = "completion", "one real completion", "/v1/completions"
    match completion:
        case NoAnswer(why, broken=True):
            return Check(item, asked, "no answer", Verdict.CONTRADICTED, f"{call}: {why}")
        case NoAnswer(why):
            return unknown(item, asked, why)
        case Completion(text, _, made, reason, seconds):
            verdict = Verdict.PROVEN if made > 0 else Verdict.CONTRADICTED
            got = f"{made} tokens in {seconds:.2f} s"
            return Check(item, asked, got, verdict, f"{call}: {text[:60]!r}, finished by {reason}")
