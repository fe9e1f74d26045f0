"""compose.yaml and the Dockerfiles, as a compose implementation reads them; no container engine is needed.

podman-compose merges and interpolates the file; compose_spec refuses what the compose specification does not know.
"""

import functools
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from compose_spec import PyCompose

from config import check

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILES = (ROOT / "Dockerfile", ROOT / "haraka" / "Dockerfile")
ALWAYS = {"valkey", "worker-1", "worker-2", "haraka"}
DEMO = {"haraka-demo", "sink", "sender"}
OWN_IMAGE = re.compile(r"haraka-[a-z-]+:[0-9]+\.[0-9]+\.[0-9]+")
FULL_VERSION = re.compile(r"[a-z]+(?:/[a-z]+)?:[0-9]+\.[0-9]+\.[0-9]+-[a-z-]+")
STUB = '#!/bin/sh\necho "podman version 5.4.0"\n'

Resolve = Callable[..., dict[str, Any]]


def resolve_compose(stub: Path, *profiles: str, **variables: str) -> dict[str, Any]:
    """Return compose.yaml as an engine gets it; `stub` becomes the podman that podman-compose asks for."""
    stub.write_text(STUB, encoding="utf-8")
    stub.chmod(0o755)
    program = Path(sys.executable).with_name("podman-compose")
    options = [option for profile in profiles for option in ("--profile", profile)]
    command = [str(program), "--podman-path", str(stub), "-f", str(ROOT / "compose.yaml"), *options, "config"]
    environ = {"PATH": os.environ["PATH"], **variables}
    outcome = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
    compose = PyCompose.from_yaml(outcome.stdout)
    compose.validate()
    compose.validate_networks()
    compose.validate_secrets()
    compose.validate_volumes()
    resolved: dict[str, Any] = compose.to_dict()
    return resolved


@pytest.fixture(scope="module")
def resolve(tmp_path_factory: pytest.TempPathFactory) -> Resolve:
    """Return what reads compose.yaml, with profiles and variables; the same question is asked once."""
    return functools.cache(functools.partial(resolve_compose, tmp_path_factory.mktemp("podman") / "podman"))


@pytest.fixture(scope="module")
def services(resolve: Resolve) -> dict[str, Any]:
    """Return every service, those of the demo included."""
    found: dict[str, Any] = resolve("demo")["services"]
    return found


def mounts(service: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """Yield source, target, and whether it can only be read."""
    for volume in service.get("volumes", ()):
        source, target, *mode = volume.split(":")
        yield source, target, mode == ["ro"]


def test_the_demo_is_a_profile_of_its_own(resolve: Resolve) -> None:
    assert set(resolve()["services"]) == ALWAYS
    assert set(resolve("demo")["services"]) == ALWAYS | DEMO


def test_every_image_is_pinned_to_a_full_version(services: dict[str, Any]) -> None:
    for name, service in services.items():
        pattern = OWN_IMAGE if "build" in service else FULL_VERSION
        assert pattern.fullmatch(service["image"]), name
    for dockerfile in DOCKERFILES:
        text = dockerfile.read_text(encoding="utf-8")
        stages = set(re.findall(r"^FROM \S+ AS (\S+)", text, re.MULTILINE))
        bases = set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) - stages
        assert bases
        assert all(FULL_VERSION.fullmatch(base) for base in bases), dockerfile


def test_the_version_of_our_images_is_that_of_the_package(services: dict[str, Any]) -> None:
    found = re.search(r'__version__ = "(.+)"', (ROOT / "worker" / "__init__.py").read_text(encoding="utf-8"))
    assert found
    assert {service["image"].rpartition(":")[2] for service in services.values() if "build" in service} == {found[1]}


def test_no_service_runs_as_root_or_can_become_it(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["user"] in {"accounting", "node", "valkey"}, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.get("privileged"), name


def test_every_image_ends_as_a_user_that_is_not_root() -> None:
    for dockerfile in DOCKERFILES:
        users = re.findall(r"^USER (\S+)", dockerfile.read_text(encoding="utf-8"), re.MULTILINE)
        assert users[-1] in {"accounting", "node"}, dockerfile


def test_every_service_can_write_nothing_but_its_volumes(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        for source, target, only_read in mounts(service):
            assert only_read == source.startswith("./"), (name, target)


def test_every_service_is_reaped_restarted_and_stopped_with_patience(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["init"] is True, name
        assert service["restart"] == ("no" if name == "sender" else "unless-stopped"), name
        if name not in DEMO - {"haraka-demo"}:
            assert service["stop_grace_period"] == "1m", name
    assert {services[name]["stop_signal"] for name in ("haraka", "haraka-demo")} == {"SIGINT"}


def test_services_start_when_what_they_need_is_healthy(services: dict[str, Any]) -> None:
    needs = {name: service.get("depends_on", {}) for name, service in services.items()}
    assert {name: set(needed) for name, needed in needs.items()} == {
        "valkey": set(),
        "worker-1": {"valkey"},
        "worker-2": {"valkey"},
        "haraka": {"worker-1"},
        "haraka-demo": {"worker-1"},
        "sink": set(),
        "sender": {"sink", "haraka-demo"},
    }
    for needed in needs.values():
        for name, how in needed.items():
            assert how["condition"] == "service_healthy"
            assert services[name].get("healthcheck") or name in {"haraka", "haraka-demo"}
    assert "HEALTHCHECK" in DOCKERFILES[1].read_text(encoding="utf-8")
    assert services["sender"]["healthcheck"] == {"disable": True}


def test_every_named_volume_belongs_to_one_service(resolve: Resolve) -> None:
    resolved = resolve("demo")
    named = [
        source for service in resolved["services"].values() for source, _, _ in mounts(service) if "/" not in source
    ]
    assert sorted(named) == sorted(resolved["volumes"])
    assert ("valkey", "/data", False) in mounts(resolved["services"]["valkey"])


def test_everything_that_is_mounted_is_in_the_repository(services: dict[str, Any]) -> None:
    sources = {source for service in services.values() for source, _, _ in mounts(service) if source.startswith("./")}
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source


def test_workers_have_names_and_directories_of_their_own(services: dict[str, Any]) -> None:
    workers = {name: service for name, service in services.items() if name.startswith("worker-")}
    assert {name: worker["environment"]["ACCOUNTING_NAME"] for name, worker in workers.items()} == {
        "worker-1": "worker-1",
        "worker-2": "worker-2",
    }
    volumes = [source for worker in workers.values() for source, target, _ in mounts(worker) if "accounting-" in source]
    assert sorted(volumes) == ["accounting-1", "accounting-2"]


def test_the_workers_ini_writes_into_their_volume(services: dict[str, Any], tmp_path: Path) -> None:
    text = (ROOT / "config" / "compose" / "accounting_files.ini").read_text(encoding="utf-8")
    assert "\npath=/var/lib/haraka-accounting\n" in text
    assert "/var/lib/haraka-accounting" in {target for _, target, _ in mounts(services["worker-1"])}
    (tmp_path / "worker_password").write_text("secret", encoding="utf-8")
    ini = tmp_path / "accounting_files.ini"
    ini.write_text(text.replace("/var/lib", str(tmp_path)).replace("/run/secrets", str(tmp_path)), encoding="utf-8")
    assert check(ini, environ={}).problems == ()
    assert check(ini, environ={}).warnings == ()


def test_passwords_are_secrets_of_those_who_need_them(resolve: Resolve) -> None:
    resolved = resolve("demo", ACCOUNTING_SECRETS="/else/where")
    assert {name: secret["file"] for name, secret in resolved["secrets"].items()} == {
        "haraka_password": "/else/where/haraka_password",
        "worker_password": "/else/where/worker_password",
    }
    assert resolve()["secrets"]["worker_password"]["file"] == "./secrets/worker_password"
    assert {name: service.get("secrets", []) for name, service in resolved["services"].items()} == {
        "valkey": ["haraka_password", "worker_password"],
        "worker-1": ["worker_password"],
        "worker-2": ["worker_password"],
        "haraka": ["haraka_password"],
        "haraka-demo": ["haraka_password"],
        "sink": [],
        "sender": [],
    }


def test_only_haraka_is_reachable_and_from_this_host_alone_unless_asked(resolve: Resolve) -> None:
    def published(**variables: str) -> dict[str, list[str]]:
        services = resolve("demo", **variables)["services"]
        return {name: service["ports"] for name, service in services.items() if "ports" in service}

    assert published() == {"haraka": ["127.0.0.1:2525:2525"]}
    assert published(HARAKA_LISTEN="0.0.0.0:25") == {"haraka": ["0.0.0.0:25:2525"]}


def test_valkey_and_workers_have_no_way_out(resolve: Resolve) -> None:
    resolved = resolve("demo")
    assert resolved["networks"]["backend"]["internal"] is True
    for name in ("valkey", "worker-1", "worker-2"):
        assert resolved["services"][name]["networks"] == ["backend"]


def test_builds_name_dockerfiles_and_stages_that_exist(services: dict[str, Any]) -> None:
    for service in services.values():
        if build := service.get("build"):
            dockerfile = Path(build["context"]) / build.get("dockerfile", "Dockerfile")
            assert dockerfile in DOCKERFILES
            stage = build.get("target")
            assert stage is None or re.search(rf"^FROM \S+ AS {stage}$", dockerfile.read_text("utf-8"), re.MULTILINE)


def copied() -> Iterator[str]:
    """Yield what the Dockerfiles copy out of the repository."""
    for dockerfile in DOCKERFILES:
        for arguments in re.findall(r"^COPY (?!--from)(.+)$", dockerfile.read_text(encoding="utf-8"), re.MULTILINE):
            yield from arguments.split()[:-1]


@pytest.mark.parametrize("source", sorted(set(copied())))
def test_what_an_image_copies_exists_and_is_not_ignored(source: str) -> None:
    assert list(ROOT.glob(source))
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert lines[1] == "*"
    assert f"!{source.partition('/')[0]}" in lines
    assert not any(source == line or source.startswith(f"{line}/") for line in lines)


def test_packages_are_installed_by_their_hashes_alone() -> None:
    worker, haraka = (dockerfile.read_text(encoding="utf-8") for dockerfile in DOCKERFILES)
    installs = re.findall(r"pip install (.+?)(?: &&|$)", worker, re.MULTILINE)
    assert len(installs) == 3
    assert all("--require-hashes" in install or "--no-deps --no-index" in install for install in installs)
    assert "--no-deps --no-build-isolation" in worker
    assert re.findall(r"npm (ci|install|i)\b", haraka) == ["ci", "ci"]


def allowed(user: str) -> set[str]:
    """Return the commands that config/valkey.acl allows a user."""
    text = (ROOT / "config" / "valkey.acl").read_text(encoding="utf-8")
    (rules,) = re.findall(rf"^user {user} (.+)$", text, re.MULTILINE)
    return set(re.findall(r" \+(\S+?)(?=[ )]|$)", rules))


def used(pattern: str, *files: Path) -> set[str]:
    """Return the commands in source files, subcommands as in an ACL file."""
    found = (match for file in files for match in re.finditer(pattern, file.read_text(encoding="utf-8")))
    containers = {"MEMORY", "SCRIPT", "XGROUP", "XINFO"}
    return {"|".join(match.groups() if match[1] in containers else [match[1]]).lower() for match in found}


def test_the_workers_user_has_the_commands_of_the_workers_code_and_no_others() -> None:
    stream = ROOT / "worker" / "stream"
    asked = r"(?:(?:call|send|send_command)\(|ask\([^\",]+,)\s*\"([A-Z]+)\"(?:, \"([A-Z]+)\")?"
    commands = used(asked, *stream.glob("*.py"))
    scripted = used(r"redis\.call\('([A-Z]+)'(?:, '([A-Z]+)')?", *(stream / "scripts").glob("*.lua"))
    assert commands
    assert scripted
    assert allowed("worker") == commands | scripted


def test_the_plugins_user_has_the_commands_of_the_plugins_code_and_no_others() -> None:
    plugin = ROOT / "haraka" / "plugin" / "lib"
    commands = used(r"\['([A-Z]+)'", *plugin.glob("*.js")) - {"role", "ok"}  # Sentinel's, which is not there; an answer
    assert commands
    assert allowed("haraka") == commands | used(r"redis\.p?call\('([A-Z]+)'", plugin / "publish.lua")


def test_the_others_can_do_nothing_but_say_that_they_are_there() -> None:
    assert allowed("health") == {"ping"}
    assert allowed("default") == set()
