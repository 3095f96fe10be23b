# SPDX-License-Identifier: Apache-2.0
"""Well-known models have as many parameters as their publishers say."""

import pytest

from agent.core.planner.model import model_of
from agent.core.planner.plan import make_plan
from agent.core.planner.question import PlanRequest
from agent.host.models.known import known_config

BILLIONS = {
    "Qwen/Qwen1.5-7B-Chat": 7.72,
    "Qwen/Qwen1.5-14B-Chat": 14.17,
    "Qwen/Qwen1.5-32B-Chat": 32.51,
    "Qwen/Qwen2-72B-Instruct": 72.71,
    "Qwen/Qwen2-VL-72B-Instruct": 73.4,
    "Qwen/Qwen3-Reranker-8B": 8.19,
    "codellama/CodeLlama-7b-Instruct-hf": 6.74,
    "codellama/CodeLlama-13b-Instruct-hf": 13.02,
    "codellama/CodeLlama-34b-Instruct-hf": 33.74,
    "mistralai/Codestral-22B-v0.1": 22.25,
    "mistralai/Ministral-3-14B-Instruct-2512-BF16": 13.9,
    "mistralai/Ministral-3-8B-Instruct-2512-BF16": 8.8,
    "deepseek-ai/deepseek-coder-6.7b-instruct": 6.74,
    "deepseek-ai/deepseek-coder-33b-instruct": 33.34,
    "deepseek-ai/DeepSeek-Coder-V2-Lite-Instruct": 15.71,
    "moonshotai/Moonlight-16B-A3B-Instruct": 15.96,
    "ibm-granite/granite-3.3-8b-instruct": 8.17,
    "ibm-granite/granite-3.3-2b-instruct": 2.53,
    "tiiuae/Falcon3-7B-Instruct": 7.46,
    "tiiuae/Falcon3-10B-Instruct": 10.31,
    "01-ai/Yi-1.5-9B-Chat": 8.83,
    "01-ai/Yi-1.5-6B-Chat": 6.06,
    "internlm/internlm2_5-7b-chat": 7.74,
    "LGAI-EXAONE/EXAONE-3.5-7.8B-Instruct": 7.82,
    "LGAI-EXAONE/EXAONE-4.0-32B": 32.0,
    "allenai/OLMo-2-1124-7B-Instruct": 7.30,
    "allenai/OLMo-2-1124-13B-Instruct": 13.72,
    "allenai/Olmo-3-7B-Instruct": 7.30,
    "allenai/Olmo-3-32B-Think": 32.23,
    "HuggingFaceTB/SmolLM2-1.7B-Instruct": 1.71,
    "HuggingFaceTB/SmolLM2-360M-Instruct": 0.362,
    "HuggingFaceTB/SmolLM2-135M-Instruct": 0.1345,
    "HuggingFaceTB/SmolLM3-3B": 3.08,
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0": 1.10,
    "upstage/SOLAR-10.7B-Instruct-v1.0": 10.73,
    "CohereForAI/aya-expanse-8b": 8.03,
    "CohereLabs/c4ai-command-a-03-2025": 111.06,
    "google/gemma-7b-it": 8.54,
    "google/gemma-2b-it": 2.51,
    "LiquidAI/LFM2-1.2B": 1.17,
    "OpenGVLab/InternVL3-8B": 7.94,
    "OpenGVLab/InternVL3_5-8B": 8.53,
    "Qwen/Qwen1.5-MoE-A2.7B-Chat": 14.32,
    "Qwen/Qwen2.5-Omni-7B": 8.93,
    "Qwen/Qwen3-Omni-30B-A3B-Instruct": 31.72,
    "XiaomiMiMo/MiMo-7B-RL": 7.61,
    "openbmb/MiniCPM5-2B": 2.52,
    "rednote-hilab/dots.ocr": 3.04,
    "zai-org/GLM-Z1-32B-0414": 32.57,
    "baidu/ERNIE-4.5-21B-A3B-PT": 21.83,
    "ibm-granite/granite-4.0-micro": 3.4,
    "microsoft/Phi-4-reasoning": 14.66,
    "mistralai/Voxtral-Mini-3B-2507": 4.68,
    "tencent/Hunyuan-A13B-Instruct": 80.39,
    "zai-org/glm-4-9b-chat-hf": 9.4,
    "Qwen/Qwen2-57B-A14B-Instruct": 57.41,
    "Qwen/Qwen2-VL-2B-Instruct": 2.21,
    "allenai/OLMoE-1B-7B-0924-Instruct": 6.92,
    "deepseek-ai/deepseek-llm-7b-chat": 6.91,
    "facebook/opt-1.3b": 1.316,
    "facebook/opt-6.7b": 6.66,
    "facebook/opt-13b": 12.85,
    "llava-hf/llava-1.5-7b-hf": 7.06,
    "llava-hf/llava-v1.6-mistral-7b-hf": 7.57,
    "microsoft/phi-2": 2.78,
}
BYTES_A_NUMBER = 2


@pytest.mark.parametrize(("name", "billions"), BILLIONS.items())
def test_the_weights_are_those_of_the_published_parameters(name: str, billions: float) -> None:
    config = known_config(name)
    assert config is not None, name
    model = model_of(config)
    assert model.known
    gib = make_plan(model, PlanRequest(300)).weights.gib
    assert gib == pytest.approx(billions * 1e9 * BYTES_A_NUMBER / 2**30, rel=0.01)
