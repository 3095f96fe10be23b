# SPDX-License-Identifier: Apache-2.0
"""Makes the two models that the tests serve, from nothing, with the environment of real vLLM.

    python make_models.py DIRECTORY

writes DIRECTORY/tiny-llama (BF16) and DIRECTORY/tiny-llama-awq (the same weights, quantised to
4 bits as AWQ checkpoints are). Random weights speak nonsense, but load, quantise and cache as any
Llama does. Both are the same in every run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import tokenizers  # type: ignore[import-not-found, unused-ignore]
import torch  # type: ignore[import-not-found, unused-ignore]
from safetensors.torch import save_file  # type: ignore[import-not-found, unused-ignore]

HIDDEN: Final = 256
HEAD_DIM: Final = 64
HEADS: Final = HIDDEN // HEAD_DIM
KV_HEADS: Final = 2
INTERMEDIATE: Final = 512
LAYERS: Final = 2
MAX_POSITIONS: Final = 8192
GROUP: Final = 32
"""Input rows that share one scale and zero point."""
AWQ_ORDER: Final = (0, 2, 4, 6, 1, 3, 5, 7)
"""Which of eight neighbouring columns each nibble of an int32 holds, lowest nibble first."""
SPECIAL_TOKENS: Final = ("<unk>", "<s>", "</s>", "<|user|>", "<|assistant|>")
CHAT_TEMPLATE: Final = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<|user|>' if m['role'] == 'user' else '<|assistant|>' }}{{ m['content'] }}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def make_tokenizer(directory: Path) -> int:
    """Writes a byte-level BPE tokenizer of some hundred tokens; returns its vocabulary's size."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([Path(__file__).read_text()] * 4, trainer)
    tokenizer.save(str(directory / "tokenizer.json"))
    write_json(
        directory / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<s>",
            "eos_token": "</s>",
            "unk_token": "<unk>",
            "model_max_length": MAX_POSITIONS,
            "chat_template": CHAT_TEMPLATE,
        },
    )
    return 512


def make_config(directory: Path, vocabulary: int, quantization: dict[str, object] | None) -> None:
    """Writes config.json and generation_config.json of a Llama of the shape above."""
    config: dict[str, object] = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "torch_dtype": "bfloat16",
        "hidden_size": HIDDEN,
        "head_dim": HEAD_DIM,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": LAYERS,
        "vocab_size": vocabulary,
        "max_position_embeddings": MAX_POSITIONS,
        "rope_theta": 10000.0,
        "rms_norm_eps": 1e-5,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    if quantization is not None:
        config["quantization_config"] = quantization
    write_json(directory / "config.json", config)
    write_json(directory / "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2})


def linear_shapes() -> Iterator[tuple[str, int, int]]:
    """Yields name, outputs and inputs of every linear layer inside the decoder."""
    for layer in range(LAYERS):
        attention = f"model.layers.{layer}.self_attn"
        yield f"{attention}.q_proj", HEADS * HEAD_DIM, HIDDEN
        yield f"{attention}.k_proj", KV_HEADS * HEAD_DIM, HIDDEN
        yield f"{attention}.v_proj", KV_HEADS * HEAD_DIM, HIDDEN
        yield f"{attention}.o_proj", HIDDEN, HEADS * HEAD_DIM
        mlp = f"model.layers.{layer}.mlp"
        yield f"{mlp}.gate_proj", INTERMEDIATE, HIDDEN
        yield f"{mlp}.up_proj", INTERMEDIATE, HIDDEN
        yield f"{mlp}.down_proj", HIDDEN, INTERMEDIATE


def make_weights(vocabulary: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Returns the linear weights by layer name, and all other tensors by tensor name; BF16."""
    random = torch.Generator().manual_seed(20240601)

    def normal(*shape: int) -> torch.Tensor:
        return (torch.randn(shape, generator=random) * 0.05).to(torch.bfloat16)

    linear = {name: normal(outputs, inputs) for name, outputs, inputs in linear_shapes()}
    other = {
        "model.embed_tokens.weight": normal(vocabulary, HIDDEN),
        "model.norm.weight": torch.ones(HIDDEN, dtype=torch.bfloat16),
        "lm_head.weight": normal(vocabulary, HIDDEN),
    }
    for layer in range(LAYERS):
        for norm in ("input_layernorm", "post_attention_layernorm"):
            other[f"model.layers.{layer}.{norm}.weight"] = torch.ones(HIDDEN, dtype=torch.bfloat16)
    return linear, other


def pack(nibbles: torch.Tensor) -> torch.Tensor:
    """Packs [rows, columns] of 0..15 into [rows, columns / 8] int32 in AWQ's column order."""
    rows, columns = nibbles.shape
    eights = nibbles.to(torch.int64).reshape(rows, columns // 8, 8)
    packed = torch.zeros(rows, columns // 8, dtype=torch.int64)
    for place, column in enumerate(AWQ_ORDER):
        packed |= eights[:, :, column] << (4 * place)
    return torch.where(packed >= 2**31, packed - 2**32, packed).to(torch.int32)


def quantize(name: str, weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """Rounds one [outputs, inputs] weight to 4 bits by group; returns its three AWQ tensors."""
    grouped = weight.float().T.reshape(-1, GROUP, weight.shape[0])  # [groups, GROUP, outputs]
    low, high = grouped.amin(dim=1), grouped.amax(dim=1)
    scales = ((high - low) / 15).clamp(min=1e-6).to(torch.float16)
    zeros = (-low / scales.float()).round().clamp(0, 15)
    levels = (grouped / scales.float()[:, None] + zeros[:, None]).round().clamp(0, 15)
    return {
        f"{name}.qweight": pack(levels.reshape(-1, weight.shape[0])),
        f"{name}.qzeros": pack(zeros),
        f"{name}.scales": scales,
    }


def write_json(path: Path, content: dict[str, object]) -> None:
    """Writes one JSON file as a hub repository has it."""
    path.write_text(json.dumps(content, indent=2) + "\n")


def make_model(
    directory: Path, tensors: dict[str, torch.Tensor], awq: dict[str, object] | None
) -> None:
    """Writes one complete checkpoint, readable by every user."""
    directory.mkdir(parents=True)
    make_config(directory, make_tokenizer(directory), awq)
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    for file in directory.iterdir():  # safetensors writes 0600, and vLLM runs as its own user
        file.chmod(0o644)


def main(directory: Path) -> None:
    """Makes both models below the directory."""
    linear, other = make_weights(512)
    full = other | {f"{name}.weight": weight for name, weight in linear.items()}
    make_model(directory / "tiny-llama", full, None)
    quantized = {key: tensor.to(torch.float16) for key, tensor in other.items()}
    for name, weight in linear.items():
        quantized |= quantize(name, weight)
    awq = {
        "quant_method": "awq",
        "bits": 4,
        "group_size": GROUP,
        "zero_point": True,
        "version": "gemm",
    }
    make_model(directory / "tiny-llama-awq", quantized, awq)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
