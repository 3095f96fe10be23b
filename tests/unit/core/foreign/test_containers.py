# SPDX-License-Identifier: Apache-2.0
"""docker run, compose and inspect become a table with the host's paths and ports."""

import shlex
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import yaml

from agent.core.foreign.compose.services import engines_of_compose
from agent.core.foreign.found import Found, NoEngineError
from agent.core.foreign.inspected import engine_of_container
from agent.core.foreign.kube import engines_of_kube
from agent.core.foreign.quadlet import unit_of_container_file
from agent.core.foreign.table import Imported, table_of
from agent.core.foreign.unit import engine_of_unit, engine_of_words

BASE = Found("box", (), directory="/srv/app", home="/home/me")


def unread(_file: str) -> None:
    """Return nothing: no file is there to be read."""


def docker(line: str) -> Imported:
    return table_of(engine_of_words(BASE, tuple(shlex.split(line)), unread))


def compose(text: str, **variables: str) -> list[Imported]:
    base = Found("", (), variables, directory="/srv/app", home="/home/me")
    found = engines_of_compose([yaml.safe_load(text)], base, "docker", unread, unread)
    return [table_of(one) for one in found]


def quadlet(text: str, read: Callable[[str], str | None] = unread) -> Imported:
    unit, left = unit_of_container_file(text, "/etc/containers/systemd")
    found = engine_of_unit("llm.service", unit, read)
    return table_of(replace(found, left=(*found.left, *left)))


def why(taken: Imported, what: str) -> str:
    return next(left.why for left in taken.left if left.what.startswith(what))


def test_a_docker_line_has_the_hosts_paths_and_the_published_port() -> None:
    taken = docker(
        "docker run -d --name chat --gpus '\"device=0,1\"' --ipc=host -p 127.0.0.1:8080:8000 "
        "-v ~/.cache/huggingface:/root/.cache/huggingface -v /data/models:/models:ro "
        "-v /data/t:/templates -e HF_TOKEN=hf_aaaaaaaaaaaa --restart unless-stopped "
        "--cap-add SYS_NICE vllm/vllm-openai:v0.10.2 --model /models/llama "
        "--chat-template /templates/x.jinja --lora-modules a=/models/lora --enable-lora"
    )
    assert taken.name == "chat"
    assert taken.table == {
        "model": "/data/models/llama",
        "host": "127.0.0.1",
        "port": 8080,
        "chat_template": "/data/t/x.jinja",
        "hf_token_file": "/etc/llmagent/hf_token",
        "gpus": [0, 1],
        "extra_args": ["--lora-modules", "a=/data/models/lora", "--enable-lora"],
        "environment": {"HF_HOME": "/home/me/.cache/huggingface"},
        "engine": {
            "runtime": "docker",
            "image": "vllm/vllm-openai:v0.10.2",
            "mounts": ["/data/models"],
            "extra_options": ["--cap-add=SYS_NICE"],
        },
    }
    assert taken.left == []


def test_what_only_an_argument_names_is_mounted() -> None:
    taken = docker(
        "podman run --device nvidia.com/gpu=all --network=host -v /data/lora:/lora -v /x:/y "
        "docker.io/vllm/vllm-openai:v0.10.2 org/m --enable-lora --lora-modules a=/lora/a"
    )
    assert taken.table["engine"] == {
        "runtime": "podman",
        "image": "docker.io/vllm/vllm-openai:v0.10.2",
        "mounts": ["/data/lora"],
    }
    assert taken.table["extra_args"][-1] == "a=/data/lora/a"
    assert "gpus" not in taken.table
    assert taken.table["host"] == "0.0.0.0"
    assert "engine.mounts" in why(taken, "volume /x:/y")


def test_a_container_that_publishes_nothing_is_told_where_it_is_reached_now() -> None:
    taken = docker("docker run --privileged -e A vllm/vllm-openai:v0.10.2 org/m --port 9000")
    assert (taken.table["host"], taken.table["port"]) == ("127.0.0.1", 9000)
    assert "address" in why(taken, "the container's own network")
    assert "rights" in why(taken, "--privileged")
    assert "shell" in why(taken, "-e A")


def test_a_unit_around_docker_is_read_through() -> None:
    text = (
        "[Service]\nExecStartPre=-/usr/bin/docker rm -f llm\nRestart=always\n"
        "ExecStart=/usr/bin/docker run --rm --name llm --gpus all -p 8000:8000 "
        "vllm/vllm-openai:v0.10.2 --model org/m\nExecStop=/usr/bin/docker stop llm\n"
    )
    taken = table_of(engine_of_unit("docker-vllm.service", text, unread))
    assert taken.table["engine"]["image"] == "vllm/vllm-openai:v0.10.2"
    assert taken.table["model"] == "org/m"
    assert [left.what for left in taken.left] == ["ExecStartPre=, Restart=, ExecStop="]


COMPOSE = """
x-common: &common
  restart: unless-stopped
  ipc: host
services:
  vllm:
    <<: *common
    image: vllm/vllm-openai:${TAG:-v0.10.2}
    container_name: vllm-chat
    command: >
      --model ${MODEL} --max-model-len 8192
      --gpu-memory-utilization 0.9
    ports: ["8000:8000", "9400:9400"]
    volumes: ["hf:/root/.cache/huggingface", "./templates:/t"]
    environment:
      - HUGGING_FACE_HUB_TOKEN=${TOKEN}
      - VLLM_LOGGING_LEVEL=DEBUG
    deploy: {resources: {reservations: {devices: [{count: 2, capabilities: [gpu]}]}}}
    depends_on: [redis]
  embed:
    image: vllm/vllm-openai:v0.10.2
    entrypoint: ["/bin/bash", "-c"]
    command: ["pip install x && vllm serve org/e --task embed --port 8001"]
    network_mode: host
    gpus: all
  webui:
    image: ghcr.io/open-webui/open-webui
"""


def test_each_vllm_of_a_compose_file_is_a_table() -> None:
    chat, embed = compose(COMPOSE, MODEL="org/m", TOKEN="hf_zzzzzzzzzz")
    assert chat.name == "vllm-chat"
    assert chat.table == {
        "model": "org/m",
        "host": "0.0.0.0",
        "port": 8000,
        "max_model_len": 8192,
        "gpu_memory_utilization": 0.9,
        "hf_token_file": "/etc/llmagent/hf_token",
        "gpus": [0, 1],
        "environment": {"VLLM_LOGGING_LEVEL": "DEBUG"},
        "engine": {"runtime": "docker", "image": "vllm/vllm-openai:v0.10.2"},
    }
    assert "fetched anew" in why(chat, "volume hf:")
    assert "engine.mounts" in why(chat, "volume /srv/app/templates:/t")
    assert "only that is served" in why(chat, "port 9400:9400")
    assert why(chat, "depends_on:")
    assert embed.table["port"] == 8001
    assert embed.table["model"] == "org/e"
    assert embed.table["extra_args"] == ["--task", "embed"]


def test_a_variable_that_nothing_sets_is_named() -> None:
    chat, _ = compose(COMPOSE)
    assert why(chat, "${MODEL}") == "nothing sets it"
    assert why(chat, "${TOKEN}") == "nothing sets it"


@pytest.mark.parametrize(
    "text", ["{}", "services: []", "services: {a: 3}", "services: {web: {image: nginx}}"]
)
def test_a_file_without_an_engine_is_told(text: str) -> None:
    with pytest.raises(NoEngineError):
        compose(text)


def inspected(**more: Any) -> Imported:
    said = {
        "Name": "/llm",
        "Config": {
            "Image": "vllm/vllm-openai:v0.10.2",
            "Entrypoint": ["vllm", "serve"],
            "Cmd": ["--model", "/models/m", "--port", "8000"],
            "Env": ["PATH=/usr/bin", "NCCL_VERSION=2.2", "NVIDIA_VISIBLE_DEVICES=all", "VLLM_X=1"],
        },
        "HostConfig": {
            "PortBindings": {"8000/tcp": [{"HostIp": "", "HostPort": "8080"}]},
            "DeviceRequests": [{"Count": -1, "DeviceIDs": None, "Capabilities": [["gpu"]]}],
        },
        "Mounts": [{"Type": "bind", "Source": "/data", "Destination": "/models"}],
        **more,
    }
    image = {
        "Config": {"Entrypoint": ["vllm", "serve"], "Env": ["PATH=/usr/bin", "NCCL_VERSION=2.2"]}
    }
    return table_of(engine_of_container(said, image, "docker"))


def test_a_container_that_runs_is_read_without_what_its_image_brings() -> None:
    taken = inspected()
    assert taken.name == "llm"
    assert taken.table == {
        "model": "/data/m",
        "host": "0.0.0.0",
        "port": 8080,
        "environment": {"VLLM_X": "1"},
        "engine": {"runtime": "docker", "image": "vllm/vllm-openai:v0.10.2"},
    }


def test_a_containers_cards_are_its_own() -> None:
    host = {"NetworkMode": "host", "DeviceRequests": [{"Count": 0, "DeviceIDs": ["GPU-1a", "2"]}]}
    assert inspected(HostConfig=host).table["gpus"] == ["GPU-1a", 2]


def test_podman_keeps_the_line_that_made_a_container() -> None:
    typed = "podman run -d --device nvidia.com/gpu=1 --cap-add=SYS_NICE --name llm IMAGE serve"
    config = {
        "Image": "docker.io/vllm/vllm-openai:v0.10.2",
        "Entrypoint": ["vllm", "serve"],
        "Cmd": ["org/m", "--port", "9000"],
        "CreateCommand": typed.split(),
        "Env": ["TERM=xterm", "container=podman", "VLLM_X=1"],
    }
    taken = inspected(Config=config, HostConfig={"NetworkMode": "host"}, Mounts=[])
    assert taken.table["environment"] == {"VLLM_X": "1"}
    assert taken.table["gpus"] == [1]
    assert taken.table["engine"]["extra_options"] == ["--cap-add=SYS_NICE"]
    assert taken.table["port"] == 9000


def test_podman_keeps_the_line_of_a_container_that_was_created_only() -> None:
    typed = "podman create --name llm IMAGE serve org/m"
    config = {
        "Image": "docker.io/vllm/vllm-openai:v0.10.2",
        "Entrypoint": ["vllm", "serve"],
        "Cmd": ["org/m"],
        "CreateCommand": typed.split(),
    }
    # What podman 4.3 itself writes of a container that was given no such option.
    host = {"NetworkMode": "host", "CapDrop": ["CAP_MKNOD", "CAP_NET_RAW"], "Runtime": "oci"}
    taken = inspected(Config=config, HostConfig=host, Mounts=[])
    assert "extra_options" not in taken.table["engine"]


def test_an_image_that_compose_builds_has_the_name_that_compose_gives_it() -> None:
    (taken,) = compose("services: {llm: {build: ., command: --model org/m --port 9000}}")
    assert taken.table["engine"]["image"] == "app-llm"
    assert "build it" in why(taken, "build:")


def test_gpus_of_cdi_and_of_a_whole_entry_point_are_read() -> None:
    (taken,) = compose(
        "services: {llm: {image: 'vllm/vllm-openai:v0.10.2', devices: [nvidia.com/gpu=1],"
        " network_mode: host, entrypoint: [python3, -m, vllm.entrypoints.openai.api_server,"
        " --model, org/m], command: --max_model_len 64}}"
    )
    assert taken.table["gpus"] == [1]
    assert taken.table["model"] == "org/m"
    assert taken.table["max_model_len"] == 64
    assert taken.left == []


def test_a_container_file_of_podman_is_read() -> None:
    text = (
        "[Unit]\nAfter=network-online.target\n[Container]\nImage=docker.io/vllm/vllm-openai:v0.10.2\n"
        "ContainerName=llm\nAddDevice=nvidia.com/gpu=0\nPublishPort=127.0.0.1:9000:8000\n"
        "Volume=/data/models:/models:ro,z\n"
        "Environment=VLLM_LOGGING_LEVEL=DEBUG HF_TOKEN=hf_aaaaaaaaaa\n"
        "Exec=--model /models/llama --max-num-seqs 4\n[Service]\nRestart=always\n"
    )
    taken = quadlet(text)
    assert taken.table == {
        "model": "/data/models/llama",
        "host": "127.0.0.1",
        "port": 9000,
        "max_num_seqs": 4,
        "hf_token_file": "/etc/llmagent/hf_token",
        "gpus": [0],
        "environment": {"VLLM_LOGGING_LEVEL": "DEBUG"},
        "engine": {"runtime": "podman", "image": "docker.io/vllm/vllm-openai:v0.10.2"},
    }


def test_a_file_of_variables_of_a_docker_line_is_read() -> None:
    words = shlex.split(
        "docker run --env-file ./vars --env-file /no vllm/vllm-openai:v0.10.2 org/m"
    )
    files = {"/srv/app/vars": "VLLM_LOGGING_LEVEL=DEBUG\n# no\n"}
    taken = table_of(engine_of_words(BASE, tuple(words), files.get))
    assert taken.table["environment"] == {"VLLM_LOGGING_LEVEL": "DEBUG"}
    assert "cannot be read" in why(taken, "--env-file /no")


def test_every_key_of_a_container_file_is_carried_over_or_named() -> None:
    taken = quadlet(
        "[Unit]\nAfter=redis.service\n[Container]\nImage=vllm/vllm-openai:v0.25.1\n"
        "AddDevice=nvidia.com/gpu=all\nNetwork=inner.network\nReadOnly=true\nUser=815\nGroup=816\n"
        "DropCapability=ALL CAP_CHOWN\nSecurityLabelDisable=true\nSeccompProfile=/etc/s.json\n"
        "Secret=hf,type=env,target=HF_TOKEN\nPod=ai.pod\nSysctl=net.core.somaxconn=4096\n"
        "HealthCmd=curl localhost\nAutoUpdate=registry\nVolume=%h/hf:/root/.cache/huggingface:Z\n"
        "Volume=./t:/t:ro\nTmpfs=/tmp\nEnvironmentFile=./vars\n"
        "Exec=org/m --chat-template /t/${T}.j\n"
        "NewerKey=1\n[Service]\nRestart=always\nEnvironment=T=x A=1\nExecStartPre=/opt/first\n",
        {"/etc/containers/systemd/vars": "VLLM_X=1\n"}.get,
    )
    assert taken.table == {
        "model": "org/m",
        "host": "127.0.0.1",
        "port": 8000,
        "chat_template": "/etc/containers/systemd/t/x.j",
        "environment": {"VLLM_X": "1", "HF_HOME": "/root/hf"},
        "engine": {
            "runtime": "podman",
            "image": "vllm/vllm-openai:v0.25.1",
            "extra_options": [
                *("--cap-drop=ALL", "--cap-drop=CAP_CHOWN"),
                *("--security-opt=seccomp=/etc/s.json", "--tmpfs=/tmp"),
            ],
        },
    }, "of the unit's own variables the container has none"
    for named in (
        "--network inner",
        "--read-only",
        "user 815:816",
        "Secret=hf",
        "Pod=ai",
        "NewerKey",
    ):
        assert why(taken, named), named
    for named in ("After=redis", "ExecStartPre=/opt/first", "--sysctl"):
        assert why(taken, named), named


def test_paths_in_variables_are_the_hosts_and_what_they_name_is_mounted() -> None:
    taken = docker(
        "docker run -v /srv/lib:/lib2:ro -v /srv/cfg:/cfg -v /srv/tri:/cache -v /srv/tri2:/c2:ro "
        "-e LD_LIBRARY_PATH=/usr/lib:/lib2/x -e LMCACHE_CONFIG_FILE=/cfg/l.yaml -e A=/cfgs "
        "-e TRITON_CACHE_DIR=/cache/triton -e VLLM_CACHE_ROOT=/c2 -e U=http://h/cfg "
        "vllm/vllm-openai:v0.10.2 org/m"
    )
    assert taken.table["environment"] == {
        "LD_LIBRARY_PATH": "/usr/lib:/srv/lib/x",
        "LMCACHE_CONFIG_FILE": "/srv/cfg/l.yaml",
        "A": "/cfgs",
        "TRITON_CACHE_DIR": "/srv/tri/triton",
        "VLLM_CACHE_ROOT": "/srv/tri2",
        "U": "http://h/cfg",
    }
    assert taken.table["engine"]["mounts"] == ["/srv/lib", "/srv/cfg", "/srv/tri2"]
    assert taken.table["writable_directories"] == ["/srv/tri"]


def test_of_the_variables_around_a_line_only_those_that_it_names_go_into_the_container() -> None:
    text = (
        "[Service]\nEnvironment=VLLM_LOGGING_LEVEL=DEBUG DOCKER_CONFIG=/root/.d\n"
        "ExecStart=/usr/bin/docker run -e VLLM_LOGGING_LEVEL -e GONE "
        "vllm/vllm-openai:v0.10.2 org/m\n"
    )
    taken = table_of(engine_of_unit("x.service", text, unread))
    assert taken.table["environment"] == {"VLLM_LOGGING_LEVEL": "DEBUG"}
    assert "shell" in why(taken, "-e GONE")


POD = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: cache}
---
apiVersion: v1
kind: Pod
metadata: {name: granite}
spec:
  restartPolicy: Always
  nodeSelector: {gpu: l4}
  containers:
  - name: vllm
    image: quay.io/vllm/vllm-openai:v0.25.1
    command: [vllm, serve]
    args: [/mnt/models/g, --port=8080, "--served-model-name=$(NAME)", --max-num-seqs, 4]
    env:
    - {name: NAME, value: granite}
    - {name: HF_TOKEN, valueFrom: {secretKeyRef: {name: hf, key: token}}}
    envFrom: [{configMapRef: {name: more}}]
    ports: [{containerPort: 8080, hostPort: 9000, hostIP: 10.0.0.4}]
    resources: {limits: {nvidia.com/gpu: 2, memory: 64Gi, cpu: 500m}}
    securityContext: {runAsUser: 1001, capabilities: {add: [SYS_NICE]}}
    livenessProbe: {httpGet: {path: /health, port: 8080}}
    lifecycle: {postStart: {exec: {command: [warm]}}}
    volumeMounts:
    - {name: models, mountPath: /mnt/models, subPath: llm, readOnly: true}
    - {name: hub, mountPath: /root/.cache/huggingface}
    - {name: shm, mountPath: /dev/shm}
    - {name: settings, mountPath: /etc/x}
  - {name: proxy, image: docker.io/library/caddy}
  volumes:
  - {name: models, hostPath: {path: /srv/}}
  - {name: hub, persistentVolumeClaim: {claimName: cache}}
  - {name: shm, emptyDir: {medium: Memory, sizeLimit: 32Gi}}
  - {name: settings, configMap: {name: x}}
"""


def kube(text: str) -> list[Imported]:
    return [table_of(one) for one in engines_of_kube(list(yaml.safe_load_all(text)), BASE)]


def test_a_pod_is_a_table_and_what_stands_elsewhere_is_named() -> None:
    (taken,) = kube(POD)
    assert taken.table == {
        "model": "/srv/llm/g",
        "host": "10.0.0.4",
        "port": 9000,
        "served_model_name": "granite",
        "max_num_seqs": 4,
        "gpus": [0, 1],
        "environment": {"NAME": "granite"},
        "engine": {
            "runtime": "podman",
            "image": "quay.io/vllm/vllm-openai:v0.25.1",
            "extra_options": [
                *(f"--shm-size={32 << 30}", "--cap-add=SYS_NICE"),
                *(f"--memory={64 << 30}", "--cpus=0.5"),
            ],
        },
    }
    told = ["env HF_TOKEN", "envFrom: configMapRef", "user 1001", "nodeSelector", "lifecycle"]
    for named in (
        *told,
        "container proxy",
        "volume settings",
        "volume cache",
        "PersistentVolumeCl",
    ):
        assert why(taken, named), named


def test_a_deployment_is_its_pod_and_another_kind_is_named() -> None:
    pod = yaml.safe_load(POD.partition("---")[2])["spec"]
    spec = {"replicas": 3, "template": {"spec": pod}}
    document = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}}
    (taken,) = kube(yaml.safe_dump({**document, "spec": spec}))
    assert taken.table["model"] == "/srv/llm/g"
    assert "one engine" in why(taken, "replicas: 3")
    with pytest.raises(NoEngineError, match="InferenceService"):
        kube(
            "{apiVersion: serving.kserve.io/v1beta1, kind: InferenceService, spec: {predictor: {}}}"
        )


def test_what_else_a_shell_in_the_image_does_is_named() -> None:
    script = "set -e; pip install x && cd /w && export A=1 && exec vllm serve org/m --seed 1"
    taken = docker(f"docker run --entrypoint bash vllm/vllm-openai:v0.10.2 -c '{script}'")
    assert (taken.table["model"], taken.table["environment"]) == ("org/m", {"A": "1"})
    assert [left.what for left in taken.left if "shell" in left.what] == [
        "`pip install x` in the image's shell"
    ]


def test_places_in_memory_and_volumes_of_the_runtime_are_not_lost() -> None:
    (taken,) = compose(
        "services: {llm: {image: 'vllm/vllm-openai:v0.10.2', command: org/m, network_mode: host,"
        " volumes: ['kept:/root/.cache/vllm', {type: tmpfs, target: /s, tmpfs: {size: 9}}]}}"
    )
    assert taken.table["engine"]["extra_options"] == ["--tmpfs=/s:size=9"]
    assert "copy" in why(taken, "volume kept:")
    taken = docker(
        "docker run --mount type=tmpfs,target=/s,tmpfs-size=9 -e HF_HOME=/hf -v hf:/hf "
        "vllm/vllm-openai:v0.10.2 org/m"
    )
    assert taken.table["engine"]["extra_options"] == ["--tmpfs=/s:size=9"]
    assert "copy" in why(taken, "volume hf:/hf")


def test_a_line_that_names_no_model_is_told_so() -> None:
    taken = docker("docker run --network=host vllm/vllm-openai:v0.10.2")
    assert "nothing names it" in why(taken, "the model")


def test_a_place_that_holds_more_than_the_model_is_seen_whole() -> None:
    taken = docker(
        "docker run -v /data:/d -v /srv/m:/m vllm/vllm-openai:v0.10.2 /d/m --enable-lora "
        "--lora-modules a=/d/lora/a"
    )
    assert taken.table["model"] == "/data/m"
    assert taken.table["engine"]["mounts"] == ["/data"]
    beside = docker("docker run -v /srv/m:/m -v /srv/m2:/m2 vllm/vllm-openai:v0.10.2 /m2")
    assert "engine.mounts" in why(beside, "volume /srv/m:/m")


@pytest.mark.parametrize(("given", "named"), [("=true", True), ("=false", False), ("", True)])
def test_a_switch_may_have_its_value_behind_it(given: str, named: bool) -> None:
    line = f"docker run --privileged{given} --rm=true vllm/vllm-openai:v0.10.2 org/m"
    taken = docker(line)
    assert ("--privileged" in [left.what for left in taken.left]) is named
    assert "extra_options" not in taken.table["engine"]


def test_the_demo_server_of_an_old_image_is_named() -> None:
    taken = docker(
        "docker run --entrypoint python3 vllm/vllm-openai:v0.10.2 -m vllm.entrypoints.api_server "
        "--model org/m"
    )
    assert why(taken, "vllm.entrypoints.api_server")


def test_a_shell_in_the_image_gets_the_containers_variables_and_its_own() -> None:
    (taken,) = compose(
        "services:\n  llm:\n    image: registry.example/llm:3\n    network_mode: host\n"
        "    environment: {MODEL: org/m, VLLM_API_KEY: secret-of-ours}\n"
        "    entrypoint: [/bin/bash, -c]\n    command:\n    - |\n"
        "      set -e\n      PORT=9000   # ours\n      mkdir -p /x\n"
        '      if [ -d "/big" ]; then\n        LEN=4096\n      fi\n'
        '      exec vllm serve "$$MODEL" --port $$PORT \\\n        --max-model-len $$LEN '
        "--api-key $$VLLM_API_KEY\n"
    )
    assert (taken.table["model"], taken.table["port"]) == ("org/m", 9000)
    assert taken.table["max_model_len"] == 4096
    assert taken.table["api_key_file"] == "/etc/llmagent/llm_api_key"
    assert "build an image" in why(taken, "`mkdir -p /x` in the image's shell")
    assert "branch" in why(taken, "$LEN")
    assert [left.what for left in taken.left if "`" in left.what] == [
        "`mkdir -p /x` in the image's shell"
    ]


def test_the_arguments_of_a_shell_in_the_image_are_vllms() -> None:
    taken = docker(
        "docker run --network host --entrypoint bash vllm/vllm-openai:v0.25.1 -c "
        "'source /opt/more.sh; exec vllm serve \"$@\"' -- --model org/m --port 9000"
    )
    assert (taken.table["model"], taken.table["port"]) == ("org/m", 9000)
    assert "cannot be read" in why(taken, "source /opt/more.sh")


def test_a_program_before_vllm_in_an_image_of_ones_own_is_named() -> None:
    taken = docker(
        "podman run --net host own:1 numactl --interleave=all vllm serve org/m --port 9000"
    )
    assert taken.table["engine"]["image"] == "own:1"
    assert "engine.entrypoint" in why(taken, "numactl --interleave=all")
