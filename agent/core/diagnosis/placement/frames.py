# SPDX-License-Identifier: Apache-2.0
"""Lines of a Python traceback: frames as "module/path.py:function", and the exception's name."""

from __future__ import annotations

import re

_FRAME = re.compile(r'^ *File "([^"]{1,400})", line \d+, in ([\w.<>]{1,120})')
_INSTALLED = re.compile(r".*/(?:site|dist)-packages/(?:[\w.+-]{1,120}\.egg/)?")
_STDLIB = re.compile(r".*/python3\.\d+/")
_MODELS = ("vllm/model_executor/models/", "vllm/models/")
_PART = re.compile(r"[a-z]+")
_MEDIA = frozenset(
    {"vl", "vision", "visual", "vit", "siglip", "clip", "pixtral", "llava", "internvl", "ocr"}
    | {"audio", "whisper", "omni", "video", "moonvit", "mm", "voxtral", "ultravox", "ovis"}
)
"""Parts of the names of models' files in which the towers for images, video and sound are."""

_SOURCE_TREE = re.compile(r".*/(?=(?:vllm|flashinfer|deep_gemm|triton|torch)/)")

_EXCEPTION = re.compile(
    r"^(?!INFO|Note\b)(?:(?:[A-Za-z_]\w*\.(?:<locals>\.)?){1,20}[a-z]*[A-Z]\w*"
    r"|\w*(?:Error|Exception|Timeout|Exit|Interrupt|Fault|Abort|Group)"
    r"|(?:[a-z_]\w{0,40}\.){1,6}(?:gai|h)?error)(?::|$)"
)
"""An exception wherever it is printed: a dotted path ends in a name with a capital, whatever it
ends with (triton.runtime.errors.OutOfResources); the builtin ones have a word of their kind; the
oldest ones of the standard library are small (socket.gaierror, struct.error)."""

_WITHIN = re.compile(r"^[A-Z][a-z]+[A-Z]\w*(?::|$)")
"""What is taken for an exception only as the last line of a traceback."""


def frame_of(text: str) -> str | None:
    """Return "vllm/v1/worker/gpu_worker.py:load_model" for a frame's line, None for any other."""
    found = _FRAME.match(text)
    if found is None:
        return None
    path, function = found.groups()
    return f"{module_path(path)}:{function}"


def is_of_media(frame: str) -> bool:
    """Tell whether a frame is in a model's file that reads images, video or sound."""
    module = frame.partition(":")[0]
    return module.startswith(_MODELS) and bool(_MEDIA.intersection(_PART.findall(module)))


def is_of_a_model(frame: str) -> bool:
    """Tell whether a frame is in the file of a model."""
    return frame.startswith(_MODELS)


def module_path(path: str) -> str:
    """Return the path below the directory that Python imports from."""
    path = path.replace("\\", "/")
    for root in (_INSTALLED, _STDLIB, _SOURCE_TREE):
        if (under := root.match(path)) is not None:
            return path[under.end() :]
    return path.lstrip("/")


def is_exception(text: str, *, within: bool) -> bool:
    """Tell whether a line is an exception's; `within`: it may end the traceback that is printed."""
    return _EXCEPTION.match(text) is not None or (within and _WITHIN.match(text) is not None)


def exception_name(text: str) -> str:
    """Return "torch.OutOfMemoryError" of "torch.OutOfMemoryError: CUDA out of memory"."""
    return text.partition(":")[0].strip()
