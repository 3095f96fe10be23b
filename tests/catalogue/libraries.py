# SPDX-License-Identifier: Apache-2.0
"""The texts of the packages whose exceptions reach vLLM's log: hub, kernels, compiler, ranks.

huggingface_hub and FlashInfer come from PyPI; torch and Triton are read where tests/rig/setup has
installed them beside vLLM. What the CUDA runtime and NCCL say is in
tests/given/catalogue/runtime.tsv.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.catalogue.sources import fetched, files
from tests.catalogue.texts import Text, texts_of
from tests.rig.paths import part

FETCHED = (("huggingface_hub", "2.4.0"), ("flashinfer-python", "0.7.2.post1"))
INSTALLED = ("triton", "torch")

_AT_RUN_TIME = re.compile(
    r"^huggingface_hub/(?:file_download|_snapshot_download|_local_folder|hf_file_system"
    r"|utils/(?:_http|_auth|_validators|_xet|_runtime|_fixes|_headers|_pagination))"
    r"|^flashinfer/(?!tests|testing|__main__|cli|trace|api_logging|data/)"
    r"|^triton/(?!tools|profiler|backends/amd|experimental|testing)"
    r"|^torch/(?:cuda/|distributed/(?:distributed_c10d|rendezvous|constants|tensor_parallel)"
    r"|_inductor/|_dynamo/(?!test|repro|debug)|_functorch/|utils/cpp_extension|serialization)"
)


def library_texts() -> Iterator[Text]:
    """Give the texts of all packages that run in a server; NotSetUpError where torch is not."""
    for name, version in FETCHED:
        for path, source in files(fetched(name, version, wheel=True)):
            if _AT_RUN_TIME.match(path):
                yield from texts_of(path, source)
    for name in INSTALLED:
        yield from _installed(name)


def _installed(name: str) -> Iterator[Text]:
    (root,) = part("vllm").glob("lib/python3*/site-packages")
    for file in sorted((root / name).rglob("*.py")):
        path = str(file.relative_to(root))
        if _AT_RUN_TIME.match(path):
            yield from texts_of(path, _read(file))


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")
