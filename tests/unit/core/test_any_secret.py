# SPDX-License-Identifier: Apache-2.0
"""No secret of a log line is shown to everybody, whoever issued it and whatever it is called."""

from __future__ import annotations

from functools import partial

import pytest

from agent.core import secrets
from agent.core.redaction import Redactor
from agent.core.secrets import without_any_secret, without_secrets
from tests.given.engine_logs import SERVING, SIGNATURES, read, v1
from tests.given.hostile.pattern_cost import LINE
from tests.given.yardstick import yardsticks

SECRET = "Ab12Cd34Ef56Gh78Ij90Kl"
LINES = (
    f"hf_{SECRET}",
    f"sk-ant-{SECRET}",
    f"key AKIA{SECRET.upper()} used",
    f"AWS_SECRET_ACCESS_KEY={SECRET}",
    f"aws_session_token={SECRET}",
    f"GET https://b/m?X-Amz-Date=1&X-Amz-Signature={SECRET}",
    f"GET https://b/m?X-Goog-Signature={SECRET}&X-Goog-Date=1",
    f"https://a.blob.example/m?sv=2022&sig={SECRET}&se=2",
    f"got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.{SECRET}",
    f"pull https://bob:{SECRET}@registry.example/x",
    f"clone https://{SECRET}@git.example/x",
    f"redis://:{SECRET}@cache.example:6379/0",
    f"Authorization: Basic {SECRET}",
    f"AUTHORIZATION: BEARER {SECRET}",
    f"Cookie: session={SECRET}",
    f"ghp_{SECRET}",
    f"glpat-{SECRET}",
    f"xoxb-{SECRET}",
    f"AIza{SECRET}",
    f"nvapi-{SECRET}",
    f"sk_live_{SECRET}",
    f"PGPASSWORD={SECRET}",
    f"db_pwd={SECRET}",
    f"SMTP_PASS={SECRET}",
    f'{{"db_password": "{SECRET}"}}',
    f"x-api-key: {SECRET}",
    f"non-default args: {{'api_key': ['{SECRET}'], 'port': 1}}",
    f"vllm serve m --api-key {SECRET} --port 1",
    f"GET /x?access_token={SECRET}",
    f"-----BEGIN PRIVATE KEY-----{SECRET}-----END PRIVATE KEY-----",
    f"https://api.telegram.org/bot123456789:{SECRET}/send",
    f"https://hooks.slack.com/services/T0/B0/{SECRET}",
    f"https://discord.com/api/webhooks/12/{SECRET}",
    f"client_secret: {SECRET}",
    f"mysql -u root -p{SECRET} db",
    f"mariadb -p'{SECRET}' x",
    f"sshpass -p {SECRET} ssh x",
    f"curl --user bob:{SECRET} https://x",
    f"redis-cli -a {SECRET} ping",
    f"docker login -u bob -p {SECRET} x",
    f"lftp -u bob,{SECRET} x",
    f"smbclient -U bob%{SECRET}",
    f"openssl enc -k {SECRET}",
    f"gpg --passphrase {SECRET}",
    f"xfreerdp /p:{SECRET}",
    f"7z x -p{SECRET} a.7z",
    f"htpasswd -b f bob {SECRET}",
    f"aws configure set x {SECRET}",
    f"echo {SECRET} | docker login --password-stdin",
    f"wandb login {SECRET}",
    f"sqlplus bob/{SECRET}@db",
    f"kubectl create secret generic x --from-literal=k={SECRET}",
    f"vault login {SECRET}",
    f"the token is {SECRET}.",
    f"key-{SECRET} was refused",
    f"ngrok authtoken {SECRET.lower()}",
    f"secret key: {SECRET.lower()}",
    f"mc alias set x https://h bob {SECRET}",
)
NO_SECRETS = (
    *("eos_token=2", "eos_token=</s>", "bos_token: <|begin_of_text|>", "mask_token=[MASK]"),
    *("{'eos_token': '</s>', 'pad_token': None}", "pad_token_id=151643", "max_tokens=4096"),
    *("eos_token=AddedToken(<s>, rstrip=False)", "prefix_token=\u2581<PRE>", "image_token=<image>"),
    *("ms_per_token=12.5ms", "time_per_output_token=0.02s", "per_token=0.25, x"),
    *("--revision 0123456789abcdef0123456789abcdef01234567", "--tokenizer-mode mistral_common"),
    *("Marlin24SparseWNA16KernelDispatcher", "k=Qwen3CoderNextInstruct480BA35B", "cmpl-7f3a9c"),
    *("_ZN3c104cuda9SetDeviceEib", "sha256:" + "0f" * 32, "FlashInferCutlassMoE12xFp8Blockwise"),
    *("-tp 2 --load-format runai_streamer_sharded", "--served-model-name Qwen3CoderNextInstruct"),
)


@pytest.mark.parametrize("line", NO_SECRETS)
def test_what_a_tokenizer_calls_a_token_and_names_behind_options_stay(line: str) -> None:
    assert without_any_secret(line) == line


def test_a_password_that_is_a_word_goes_where_a_program_takes_one() -> None:
    for line in ("mysql -u root -phunter22 db", "mysqldump -phunter22", "sshpass -phunter22 ssh x"):
        assert "hunter22" not in without_any_secret(line)


@pytest.mark.parametrize("line", LINES)
def test_no_secret_reaches_a_screen_or_a_report(line: str) -> None:
    assert SECRET.lower() not in without_any_secret(line).lower()
    assert SECRET.lower() not in Redactor().text(line).lower()


@pytest.mark.parametrize("line", LINES)
def test_what_a_log_reader_hands_out_has_none(line: str) -> None:
    reader = read(f"{SERVING}\n{line}\n" + v1(f"RuntimeError: CUDA error: {line}", level="ERROR"))
    handed_out = [*reader.tail, *reader.diagnosis().evidence]
    # What is kept to be judged is not shown; `tail` and the evidence are.
    from_log = "\n".join(without_any_secret(text) for text in handed_out)
    assert from_log == "\n".join(handed_out)
    assert SECRET.lower() not in from_log.lower()


def test_what_an_engine_says_of_itself_stays_whole() -> None:
    said = [words for known in SIGNATURES.signatures for words in known.examples]
    assert [words for words in said if without_any_secret(words) != without_secrets(words)] == []


@pytest.mark.parametrize("name", ["ISSUED", "HEADER", "PEM", "_BEFORE_A_HOST", "_ASSIGNED"])
def test_no_line_takes_them_long(name: str) -> None:
    pattern = getattr(secrets, name)
    parts = [
        *("a", "a_", "token", "-", "--a", "key", "secret=", "://", "x://a", "eyJaaaaaaaa.", "a.")
    ]
    parts += [*("-----BEGIN KEY-----", "cookie", "authorization: ", "1", "bot12345:", "password ")]
    for part in parts:
        line = (part * (LINE // len(part) + 1))[:LINE]
        assert yardsticks(partial(pattern.sub, "", line), 10) <= 10, part
