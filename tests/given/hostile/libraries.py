# SPDX-License-Identifier: Apache-2.0
"""What libraries print of a client's data without vLLM's prefix, and what vLLM's engine repeats.

Forms of asyncio, websockets, Pillow, FFmpeg, OpenCV, xgrammar, Rust, transformers and vLLM 0.33;
each is one request's lines, the words where the client's own stand.
"""

from __future__ import annotations

import json
from collections.abc import Callable

API = "(APIServer pid=1) "
ENGINE = "(EngineCore pid=42) "
AT = "11-28 16:34:02 "
PACKAGES = "/opt/vllm/lib/python3.12/site-packages"


def _thrown(prefix: str, place: str, said: str, head: str = "") -> list[str]:
    """Give a traceback of one frame, "PATH:FUNCTION"."""
    path, _, function = place.partition(":")
    lines = [
        *([head] if head else []),
        "Traceback (most recent call last):",
        f'  File "{PACKAGES}/{path}", line 99, in {function}',
        "    raise Odd(said)",
        said,
    ]
    return [prefix + line for line in lines]


def _core(line: int) -> str:
    return f"{ENGINE}ERROR {AT}[core.py:{line}] "


PRINTED: dict[str, Callable[[str], list[str]]] = {
    "a task of asyncio": lambda w: _thrown(
        "", "PIL/Image.py:open", f"PIL.UnidentifiedImageError: cannot identify {w}", "Task failed"
    ),
    "an error that is all words": lambda w: _thrown(API, "PIL/Image.py:open", w),
    "an address that is none": lambda w: _thrown(
        API, "aiohttp/client.py:_request", f"aiohttp.client_exceptions.InvalidUrlClientError: {w}"
    ),
    "a handshake": lambda w: _thrown(
        "", "websockets/server.py:accept", f"websockets.exceptions.InvalidHeader: invalid: {w}"
    ),
    "media that cannot be read": lambda w: _thrown(
        f"{API}ERROR {AT}[utils.py:77] ",
        "vllm/multimodal/media/connector.py:load",
        f"ValueError: {w}",
    ),
    "a template": lambda w: _thrown(
        f"{API}ERROR {AT}[hf.py:574] ",
        "jinja2/environment.py:handle",
        f"jinja2.exceptions.TemplateError: {w}",
    ),
    "a request that the engine refuses": lambda w: _thrown(
        _core(2165),
        "vllm/v1/engine/core.py:preprocess_add_request",
        f"ValueError: {w}",
        "Unexpected error pre-processing request cmpl-9",
    ),
    "an adapter that is not there": lambda w: _thrown(
        _core(1849),
        "vllm/lora/worker_manager.py:_load_adapter",
        f"ValueError: Loading lora {w} failed: No adapter found",
        "Invocation of add_lora method failed",
    ),
    "an adapter of a hub": lambda w: _thrown(
        f"{ENGINE}ERROR {AT}[utils.py:392] ",
        "huggingface_hub/utils/_http.py:hf_raise_for_status",
        f"huggingface_hub.errors.RepositoryNotFoundError: 404 for url: https://h/api/models/{w}",
        "Error downloading the HuggingFace model",
    ),
    "a video": lambda w: [f"[mov,mp4,m4a @ 0x55d0] {w}"],
    "a pattern of files": lambda w: [
        "[ERROR:0@12.3] global cap.cpp:166 open VIDEOIO(CV_IMAGES): raised OpenCV exception:",
        f"OpenCV(4.11.0) /io/videoio/src/cap_images.cpp:253: error: (-5) in the name of file: {w}",
    ],
    "a schema over lines": lambda w: [
        "[16:34:02] /project/cpp/json_schema_converter.cc:73: Warning: unsupported key in",
        "schema:",
        w,
    ],
    "a panic": lambda w: ["thread '<unnamed>' panicked at src/lib.rs:99:5:", w],
    "a prefix that is quoted": lambda w: [f"{API}[odd @ 0x1] ERROR {AT}[core.py:9] {w}"],
    "a process that is quoted": lambda w: [f"[odd @ 0x1] (EngineCore pid=42) {w}"],
    "a record of JSON": lambda w: [json.dumps({"log": f"{_core(9)}{w}"})],
    "flags over lines": lambda w: ["The following flags are not valid: ['x", w, "']."],
    "an adapter that a worker refuses": lambda w: _thrown(
        f"(Worker_TP1 pid=55) ERROR {AT}[multiproc_executor.py:1189] ",
        "vllm/lora/worker_manager.py:_load_adapter",
        f"ValueError: Loading lora {w} failed: No adapter found for /srv/{w}",
        "WorkerProc hit an exception.",
    ),
    "a program that writes as logrus": lambda w: [
        f'time="2026-11-28T16:34:02Z" level=error msg={json.dumps(w)}',
        f'time="2026-11-28T16:34:02Z" level=info msg="proxied" path={json.dumps(w)}',
    ],
    "a request's id": lambda w: [
        f"{ENGINE}WARNING {AT}[core.py:2120] Multi-modal cache miss for request {w} (mm_hashes=[])",
        f"{ENGINE}ERROR {AT}[scheduler.py:3764] Failing 1 request(s). Request IDs: ['{w}']",
    ],
}
"""By name: words to the lines that are printed of one request."""
