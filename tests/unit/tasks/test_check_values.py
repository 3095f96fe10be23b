# SPDX-License-Identifier: Apache-2.0
"""Formats and GPUs that cannot be are mistakes; what only a plugin may have is a warning."""

from dataclasses import replace
from pathlib import Path

import pytest

from agent.core.engine.install import EngineInstall
from agent.core.gpu.reading import Driver, Gpus
from agent.core.settings.service import Settings
from agent.tasks.check_values import (
    files_that_are_not_there,
    formats_that_cannot_be,
    gpus_that_are_not_there,
    variables_that_are_not_read,
)
from tests.given.some_gpus import H200

PACKAGE = {
    "model_executor/layers/quantization/__init__.py": (
        'QuantizationMethods = Literal[\n    "awq",\n    "fp8",\n    "compressed-tensors",\n]\n'
    ),
    "config/cache.py": (
        'CacheDType = Literal["auto", "fp8", "fp8_e4m3"]\nMambaDType = Literal["auto", "float32"]\n'
    ),
}


@pytest.fixture
def installed(tmp_path: Path) -> EngineInstall:
    """A vLLM 0.32 whose own files say which formats it has."""
    for name, text in PACKAGE.items():
        file = tmp_path / "vllm" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return EngineInstall("/v/bin/python", "0.32.0", "vllm", read_paths=(str(tmp_path),))


BARE = EngineInstall("/v/bin/python", "0.32.0", "vllm")


def judged(install: EngineInstall, **settings: object) -> list[tuple[str, bool, str]]:
    asked = replace(Settings("vllm", "org/m"), **settings)  # type: ignore[arg-type]
    return list(formats_that_cannot_be(asked, install))


def test_what_the_installed_vllm_has_is_no_mistake(installed: EngineInstall) -> None:
    assert judged(installed, quantization="compressed-tensors", kv_cache_dtype="fp8_e4m3") == []
    assert judged(installed, quantization="FP8") == []
    assert judged(installed) == []


def test_a_format_that_no_release_has_is_a_mistake(installed: EngineInstall) -> None:
    for install in (installed, BARE):
        (quantization, cache) = judged(install, quantization="fp9", kv_cache_dtype="int3")
        assert quantization[:2] == ("quantization", True)
        assert "vLLM 0.32.0 has no fp9; did you mean fp8?" in quantization[2]
        assert cache[:2] == ("kv_cache_dtype", True)


def test_a_format_of_another_release_is_a_warning(installed: EngineInstall) -> None:
    ((key, certain, sentence),) = judged(installed, quantization="gguf")
    assert (key, certain) == ("quantization", False)
    assert "plugin" in sentence


def test_nothing_is_certain_of_plugins_and_of_a_newer_vllm(installed: EngineInstall) -> None:
    plugins = {"environment": {"VLLM_PLUGINS": "ours"}}
    assert [found[1] for found in judged(installed, quantization="ours", **plugins)] == [False]
    newer = EngineInstall("/v/bin/python", "0.99.0", "vllm")
    assert [found[1] for found in judged(newer, quantization="fp9")] == [False]


def gpus_of(names: tuple[str, ...], gpus: Gpus | None) -> list[str]:
    return list(gpus_that_are_not_there(replace(Settings("vllm", "org/m"), gpus=names), gpus))


def test_a_gpu_that_is_not_there_is_named_with_those_that_are() -> None:
    two = Gpus(1.0, (H200, replace(H200, index=1, uuid="GPU-bb")))
    assert gpus_of(("0", "GPU-bb"), two) == []
    assert gpus_of(("all",), two) == []
    assert gpus_of(("9", "GPU-cc"), two) == [
        "9 is no GPU of this host; there are 0, 1 (nvidia-smi -L)",
        "GPU-cc is no GPU of this host; there are 0, 1 (nvidia-smi -L)",
    ]


def test_where_no_card_can_be_seen_or_one_is_lost_nothing_is_a_mistake() -> None:
    assert gpus_of(("9",), None) == []
    assert gpus_of(("9",), Gpus(0.0, (), Driver(problem="NVML does not answer"))) == []
    assert gpus_of(("0", "1"), Gpus(1.0, (H200,), nameless=(1,))) == []


def test_a_variable_that_the_installed_vllm_does_not_read_is_told(tmp_path: Path) -> None:
    names = [*(f"VLLM_THING_{n}" for n in range(60)), "VLLM_LOGGING_LEVEL"]
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm/envs.py").write_text("\n".join(f'"{name}": lambda: 1,' for name in names))
    install = EngineInstall("/v/bin/python", "0.32.0", "vllm", read_paths=(str(tmp_path),))
    asked = {"VLLM_LOGING_LEVEL": "DEBUG", "VLLM_LOGGING_LEVEL": "INFO", "OTHER": "1"}
    settings = Settings("vllm", "org/m", environment=asked)
    (told,) = variables_that_are_not_read(settings, install)
    assert told == "vLLM 0.32.0 reads no VLLM_LOGING_LEVEL; did you mean VLLM_LOGGING_LEVEL?"
    assert list(variables_that_are_not_read(settings, BARE)) == []


def test_a_file_that_an_option_names_and_that_is_away_is_told(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    lora = ("--lora-modules", f"a={tmp_path}/there", f"b={tmp_path}/gone")
    settings = Settings("vllm", "org/m", extra_args=lora, environment={"MODEL_PATH": "/gone"})
    (told,) = files_that_are_not_there(settings)
    assert told == f"lora_modules: {tmp_path}/gone does not exist"
