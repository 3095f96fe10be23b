# SPDX-License-Identifier: Apache-2.0
"""What an exception's own words say is to be done: the option, package or number by its name."""

from __future__ import annotations

import re

from agent.core.failures.classes import FailureClass
from agent.core.failures.meaning import advice_for_class

MOST_NAMES = 3

_FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]{2,60}")
_VARIABLE = re.compile(r"\bVLLM_[A-Z0-9_]{2,60}(?:=[\w.]{0,39}\w)?")
_ASKED = re.compile(
    r"\b(?i:adjust|set|increase|decrease|lower|raise|reduce|change|unset|enable|disable|use) "
    r"(?:the |it to )?[`'\"]?([a-z][a-z0-9]{1,30}(?:_[a-z0-9]{1,30}){1,6})\b"
)
_CHOICES = re.compile(
    r"(?:: \S{1,80} )?\(cho{1,2}se from|\b[Vv]alid \w{1,20} are\b|\bexpected one of\b"
    r"|\b[Ss]upported \w{1,20}:|\bonly supports? (?=[`'\"])"
)
"""Behind it stand values, not names of options."""

_NAME = re.compile(r"(?<![\w|/.-])[a-z][a-z0-9]{1,30}(?:_[a-z0-9]{1,30}){1,6}\b(?![(/.|])")
_REASON = re.compile(
    r"\s{0,8}(?:(?:\w{1,60}\.){0,8}\w{1,60}(?:Error|Exception)|Value error|Assertion failed)[:,] "
    r"(?!assert )(\S[^{}<>]{4,200})"
)
"""What an exception says, up to where it prints data."""

_ORDER = re.compile(
    r"(?:(?:[.:;,] |^)[Pp]lease (?:either )?|[.:;,] [Ee]ither |[;,] (?=[a-z])|(?:[.:] |^)(?=[A-Z]))"
    r"((?:[Cc]onsider )?(?:[Uu]se|[Ss]et|[Uu]nset|[Pp]ass|[Dd]isable|[Ee]nable|[Rr]emove|[Rr]un"
    r"|[Oo]mit|[Tt]ry|[Ss]elect|[Aa]djust(?:ing)?|[Cc]hoose|[Ii]ncreas(?:e|ing)|[Dd]ecreas(?:e|ing)"
    r"|[Ll]ower|[Rr]educe|[Aa]dd|[Ss]pecify|[Pp]rovide|[Ss]witch|[Cc]onfigure) )"
)
"""How a text begins to ask something of its reader; Python's own words ask nothing."""

_ORDER_ENDS = re.compile(r"(?<!e\.g)[.;] (?=[A-Z`])|\.$|[{}<>\n]")
_MOST_OF_AN_ORDER = 200
_PRONOUN = re.compile(r"\b(?:it|them)\b")
_LONGEST = 380
"""Longer words may have been cut, and so may what they ask."""

_CHOICE = re.compile(r"invalid choice: ('[^']{1,80}') \(cho{1,2}se from ([^()]{1,300})\)")
_UNKNOWN = re.compile(r"unrecognized arguments: (--[a-z][\w-]{1,60})")
_REFUSED = re.compile(
    r"(?:Permission denied|Read-only file system|not writable)[^'\n]{0,40}: '(/[^']{1,300})'"
)
_BELOW_ROOT = re.compile(r"/\.[\w.-]{1,40}(?:/|$)")
"""What belongs into a home, where the home is / for want of an entry in /etc/passwd."""

_LENGTHS = re.compile(
    r"max_model_len \(\d{1,12}\) is greater than the derived max_model_len \((.{1,120})"
)
_LENGTH = re.compile(r"(\w{1,60})=(\d{1,12})\b")
_HEADS = re.compile(r"attention heads \((\d{1,6})\) must be divisible by tensor parallel size")
_WORLD = re.compile(
    r"(?:size|World size) \((\d{1,6})\) (?:is larger than|cannot be larger than) the number of "
    r"available GPUs \((\d{1,6})\)"
)
_CAPABILITY = re.compile(r"Minimum capability: (\d{2,3})\. Current capability: (\d{2,3})")
_SIGKILL = re.compile(r"exit code:? -9\b")
_KILLED = (
    "It was killed from outside (SIGKILL): journalctl -k names the OOM killer, the container's or "
    "the unit's state a limit or a forced stop."
)
_RANK = re.compile(r"LoRA rank (\d{1,6}) is greater than max_lora_rank (\d{1,6})")
_PART = re.compile(
    r"(?:weight|size_per_partition|partition_size) = (\d{1,9}) is not divisible by +"
    r"(?:weight quantization )?(?:min_thread_[nk]|block_[nk]|group_size) = (\d{1,6})"
)
_NO_PACKAGE = re.compile(r"No module named '[\w.]+'; '([\w.]+)' is not a package")
_NO_MODULE = re.compile(r"No module named '(?!vllm\b|torch\b)([A-Za-z]\w{0,60})")
_BUILT_FOR_ANOTHER = re.compile(r"-packages/([A-Za-z]\w{1,60})[^:]{0,200}\.so: undefined symbol")

_NO_OPTION = re.compile(
    r"^(?:input_value|input_type|value_error|assertion_error|self_instance|vocab_size|add_lora)$"
)


def options_named(words: str) -> tuple[str, ...]:
    """Return the flags, variables and settings that the words name, what they ask for first."""
    said = _CHOICES.split(words.partition(" [type=")[0], 1)[0]
    asked = [found.group(1) for found in _ASKED.finditer(said)]
    strict = [*_FLAG.findall(said), *_VARIABLE.findall(said), *asked]
    names = strict or [name for name in _NAME.findall(said) if _NO_OPTION.match(name) is None]
    return tuple(dict.fromkeys(names))[:MOST_NAMES]


def what_to_do(failure: FailureClass, words: str) -> str:
    """Return the advice of a class, with the names of what the words say is to be corrected."""
    match failure:
        case FailureClass.BAD_ARG_VALUE:
            return _of_a_value(words)
        case FailureClass.UNKNOWN_ARG if (flag := _UNKNOWN.search(words)) is not None:
            return (
                f"This vLLM has no {flag.group(1)}: it is spelled otherwise, or belongs to another "
                "release (vllm serve --help=all lists what there is)."
            )
        case FailureClass.CACHE_NOT_WRITABLE if (path := _REFUSED.search(words)) is not None:
            return _of_a_directory(path.group(1))
        case FailureClass.MAX_MODEL_LEN_TOO_BIG if (said := _LENGTHS.search(words)) is not None:
            return _of_a_length(said.group(1))
        case FailureClass.TP_NOT_DIVISIBLE:
            return _of_parallel_sizes(words)
        case FailureClass.QUANT_UNSUPPORTED_DEVICE if (sm := _CAPABILITY.search(words)) is not None:
            least, this = (f"{number[:-1]}.{number[-1]}" for number in sm.groups())
            return (
                f"The format needs compute capability {least} and this GPU has {this}: use a "
                "checkpoint in a format that this GPU supports."
            )
        case FailureClass.WORKER_DIED if _SIGKILL.search(words) is not None:
            return _KILLED
        case FailureClass.PACKAGE_MISMATCH:
            return _of_a_package(words)
        case _:
            return advice_for_class(failure)


def _of_a_length(sources: str) -> str:
    known = [(int(value), name) for name, value in _LENGTH.findall(sources)]
    if not known:
        return advice_for_class(FailureClass.MAX_MODEL_LEN_TOO_BIG)
    longest, name = min(known)
    return (
        f"Lower max_model_len to {longest}, for which the model was made ({name} in its config), "
        "or leave it unset."
    )


def _of_parallel_sizes(words: str) -> str:
    if (heads := _HEADS.search(words)) is not None:
        number = int(heads.group(1))
        fit = ", ".join(str(size) for size in (2, 4, 8, 16, 3, 5, 6, 7) if number % size == 0)
        return f"Choose a tensor_parallel_size that divides its {number} attention heads: 1" + (
            f", {fit}." if fit else "."
        )
    if (world := _WORLD.search(words)) is not None:
        asked, there = world.groups()
        return (
            f"{asked} GPUs are asked for and {there} are there: lower tensor_parallel_size (times "
            f"pipeline_parallel_size) to {there}, let it see more (CUDA_VISIBLE_DEVICES, the "
            "container's devices), or spread it over nodes (--nnodes, or Ray)."
        )
    if (part := _PART.search(words)) is not None:
        mine, block = part.groups()
        return (
            f"Each GPU's part of these weights ({mine}) must be a multiple of {block}: lower "
            "tensor_parallel_size, or keep experts whole with --enable-expert-parallel."
        )
    return advice_for_class(FailureClass.TP_NOT_DIVISIBLE)


def _of_a_package(words: str) -> str:
    if (shadow := _NO_PACKAGE.search(words)) is not None:
        name = shadow.group(1)
        return (
            f"Something else is called {name} and is found first: a file {name}.py or a folder "
            f"{name} in the working directory or in PYTHONPATH (rename it), or what is left of a "
            f"package that was taken out. python -c 'import {name}; print({name}.__file__)' tells."
        )
    if (missing := _NO_MODULE.search(words)) is not None:
        return (
            f"The package that brings the module {missing.group(1)} is not installed in vLLM's "
            "environment: install it there (pip install; the model's card or vLLM's extras name "
            "it), or use the image of this release that holds it."
        )
    if (package := _BUILT_FOR_ANOTHER.search(words)) is not None:
        return (
            f"{package.group(1)} was built for another torch than the one installed: take it out "
            "(vLLM brings its own kernels), or install or build the one for this torch; vLLM and "
            "torch need no change."
        )
    return advice_for_class(FailureClass.PACKAGE_MISMATCH)


def _of_a_directory(path: str) -> str:
    if _BELOW_ROOT.match(path) is not None:
        return (
            f"The user's home is /, where {path} cannot be made: set HOME to a directory that it "
            "may write (or HF_HOME, XDG_CACHE_HOME, XDG_CONFIG_HOME, TRITON_CACHE_DIR and "
            "TORCHINDUCTOR_CACHE_DIR one by one)."
        )
    return (
        f"Let the service's user write {path}: see its owner, ProtectHome= and ReadWritePaths= of "
        "the unit, and how a container mounts it."
    )


def _of_a_value(words: str) -> str:
    if (choice := _CHOICE.search(words)) is not None:
        value, choices = choice.groups()
        return f"{value} is none of the values that there are: {choices.strip()}."
    if (rank := _RANK.search(words)) is not None:
        return f"Raise max_lora_rank from {rank.group(2)} to {rank.group(1)} at least."
    names = options_named(words)
    if order := _asked_for(words):
        unnamed = _PRONOUN.search(order) is not None and not any(n in order for n in names)
        of_what = f" ({', '.join(names)})" if names and unnamed else ""
        return f"Do what the line says: {order}{of_what}."
    if names:
        return f"Correct what the line names: {', '.join(names)}."
    said = _REASON.match(words.partition(" [type=")[0])
    reason = "" if said is None else _whole(said.group(1))
    told = f"Correct what it refuses: {reason}."
    return told if reason else advice_for_class(FailureClass.BAD_ARG_VALUE)


def _asked_for(words: str) -> str:
    """Return what the last sentence that asks for something asks for; "" where none does."""
    said = words.partition(" [type=")[0].rstrip()
    order = ""
    for found in _ORDER.finditer(said):
        begin, most = found.start(1), found.end() + _MOST_OF_AN_ORDER
        end = _ORDER_ENDS.search(said, found.end(), most)
        if end is None and (len(said) >= _LONGEST or len(said) > most):
            continue
        if end is None or end.group()[0] in ".;":
            order = said[begin : None if end is None else end.start()]
    return order[:1].lower() + order[1:]


def _whole(reason: str) -> str:
    """Return a reason without a bracket or a quotation that was cut, and without its full stop."""
    if reason.count("(") > reason.count(")"):
        reason = reason.rpartition("(")[0]
    for mark in ("'", '"'):
        if reason.count(mark) % 2 and reason.startswith(mark):
            reason = reason[1:]
    return reason.strip().rstrip(".:,")
