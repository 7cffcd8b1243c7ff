"""What deploy/ and configs/clusters/ hold is valid by the definitions of the tools that take it, and agrees."""

from __future__ import annotations

import importlib.resources
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from distributed.cli.dask_scheduler import main as dask_scheduler
from distributed.cli.dask_worker import main as dask_worker

from landweave.config.load import example_config, load_config
from landweave.core.budget import GIB, BlockMemory, InputMemory, ModelMemory, block_memory
from landweave.core.errors import ConfigError
from landweave.engine.cluster_kinds import KINDS, import_quietly, lifetime_arguments
from landweave.engine.settings import ClusterSettings
from landweave.engine.worker_settings import WORKER_SETTINGS, environment
from landweave.models.cards.card import ModelCard
from landweave.models.cards.registry import find_card
from landweave.models.inference import InferenceSettings
from landweave.models.predictor import TorchModel
from landweave.setup.map_setup import engine_settings
from landweave.sources.files import KEPT_BYTES
from tests.helpers.commands import ROOT
from tests.helpers.small import Small

DEPLOY = ROOT / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
CLUSTERS = sorted((ROOT / "configs" / "clusters").glob("*.yaml"))
OURS = {"kubernetes.dask.org/v1"}
KUBERNETES = "1.30"


def documents() -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{path.name} {each['kind']} {each['metadata']['name']}", each)
        for path in MANIFESTS
        for each in yaml.safe_load_all(path.read_text())
    ]


def pod_specs() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every pod that a manifest describes."""
    for name, each in documents():
        if each["kind"] == "Job":
            yield name, each["spec"]["template"]["spec"]
        if each["kind"] == "DaskCluster":
            yield f"{name} worker", each["spec"]["worker"]["spec"]
            yield f"{name} scheduler", each["spec"]["scheduler"]["spec"]


def operators_definition(kind: str) -> dict[str, Any]:
    """The schema of a resource, from the package of the operator."""
    folder = importlib.resources.files("dask_kubernetes") / "operator/deployment/helm/dask-kubernetes-operator/crds"
    crd = yaml.safe_load((folder / f"{kind.lower()}.yaml").read_text())
    (version,) = [each for each in crd["spec"]["versions"] if each["name"] == "v1"]
    return version["schema"]["openAPIV3Schema"]


def as_kubernetes_prunes(schema: Any) -> Any:
    """A schema in which a field that is not described is an error: Kubernetes would drop it without a word."""
    if isinstance(schema, list):
        return [as_kubernetes_prunes(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: as_kubernetes_prunes(value) for key, value in schema.items()}
    described = isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema
    if described and not schema.get("x-kubernetes-preserve-unknown-fields"):
        inner["additionalProperties"] = False
    return inner


def check_resource(kind: str, resource: dict[str, Any]) -> None:
    schema = as_kubernetes_prunes(operators_definition(kind))
    # Every resource has these; a definition need not say so.
    schema["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {}}
    jsonschema.validate(json.loads(json.dumps(resource)), schema)


@pytest.mark.parametrize(("name", "resource"), documents(), ids=lambda each: each if isinstance(each, str) else "")
def test_a_manifest_is_valid(name: str, resource: dict[str, Any]) -> None:
    if resource["apiVersion"] in OURS:
        check_resource(resource["kind"], resource)
    else:
        kubernetes_validate.validate(resource, KUBERNETES, strict=True)
    assert resource["kind"] == "Namespace" or resource["metadata"]["namespace"] == "landweave"


def test_the_checks_see_what_is_wrong() -> None:
    cluster = dict(documents())["cluster.yaml DaskCluster landweave"]
    wrong = json.loads(json.dumps(cluster))
    wrong["spec"]["worker"]["replicass"] = 3
    with pytest.raises(jsonschema.ValidationError, match="replicass"):
        check_resource("DaskCluster", wrong)
    policy = json.loads(json.dumps(dict(documents())["network.yaml NetworkPolicy landweave-cluster"]))
    policy["spec"]["podSelectors"] = policy["spec"].pop("podSelector")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(policy, KUBERNETES, strict=True)


@pytest.mark.parametrize(("name", "spec"), list(pod_specs()), ids=lambda each: each if isinstance(each, str) else "")
def test_a_pod_is_limited_and_not_root(name: str, spec: dict[str, Any]) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": spec}
    kubernetes_validate.validate(pod, KUBERNETES, strict=True)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False
    volumes = {each["name"] for each in spec["volumes"]}
    for container in spec["containers"]:
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
        assert {"cpu", "memory"} <= container["resources"]["limits"].keys()
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert {each["name"] for each in container["volumeMounts"]} <= volumes
        assert {each["configMapRef"]["name"] for each in container["envFrom"] if "configMapRef" in each} == {
            "landweave-environment"
        }
        for variable in container.get("env", []):
            assert not re.search("KEY|SECRET|TOKEN|PASSWORD", variable["name"]), "by reference only"


def test_workers_in_pods_stay_below_their_limit() -> None:
    cluster = dict(documents())["cluster.yaml DaskCluster landweave"]
    (container,) = cluster["spec"]["worker"]["spec"]["containers"]
    (given,) = [each for each in container["args"] if each.startswith("--memory-limit=")]
    limit = int(given.removeprefix("--memory-limit=").removesuffix("GiB"))
    assert limit < int(container["resources"]["limits"]["memory"].removesuffix("Gi"))


def environment_file() -> dict[str, str]:
    lines = (DEPLOY / "workers.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and line[0] != "#")


def test_the_environment_is_that_of_the_program() -> None:
    """Nobody adds a setting in one place only."""
    found = environment_file()
    assert found.items() >= environment(2).items()
    dask = {key: value for key, value in found.items() if key.startswith("DASK_") and "TLS" not in key}
    assert dask.pop("DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION") == "true"
    own = {f"DASK_{key.upper().replace('.', '__').replace('-', '_')}": value for key, value in WORKER_SETTINGS.items()}
    assert dask == {key: str(value).lower() for key, value in own.items()}


def test_pods_have_the_same_environment() -> None:
    resource = dict(documents())["environment.yaml ConfigMap landweave-environment"]
    assert resource["data"] == environment_file()


def test_dask_knows_every_name_of_the_environment() -> None:
    import dask

    defaults: Any = dask.config.merge(*dask.config.defaults)
    for name in environment_file():
        if name.startswith("DASK_"):
            section = defaults
            for part in name.removeprefix("DASK_").lower().split("__"):
                assert dask.config.canonical_name(part, section) in section, name
                section = section[dask.config.canonical_name(part, section)]


def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def options(command: Any) -> set[str]:
    return {name for each in command.params for name in (*each.opts, *each.secondary_opts)}


def test_compose_names_only_what_is_there() -> None:
    content = compose()
    services = content["services"]
    assert {"scheduler", "worker", "s3", "job"} <= services.keys()
    for name, service in services.items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in content["volumes"] or (DEPLOY / source).is_file(), f"{name}: {volume}"
        for file in service.get("env_file", []):
            assert (DEPLOY / file).is_file()
        assert set(service.get("depends_on", [])) <= services.keys()
        for key, value in service.get("environment", {}).items():
            if re.search("KEY|SECRET|PASSWORD", key):
                assert value.startswith("${"), f"{name}: {key} is a value, not a reference"
        if name in ("scheduler", "worker", "job"):
            assert service["user"] == "10001:10001"
            assert service["read_only"] is True
            assert service["build"]["target"] in (DEPLOY / "Dockerfile").read_text()


def test_commands_have_the_options_of_dask() -> None:
    services = compose()["services"]
    cluster = dict(documents())["cluster.yaml DaskCluster landweave"]["spec"]
    worker, scheduler = (cluster[role]["spec"]["containers"][0]["args"] for role in ("worker", "scheduler"))
    for given, command in (
        (services["worker"]["command"], dask_worker),
        (services["scheduler"]["command"], dask_scheduler),
        (worker, dask_worker),
        (scheduler, dask_scheduler),
    ):
        named = {each.split("=")[0] for each in given if each.startswith("--")}
        assert named <= options(command), named - options(command)


@pytest.mark.parametrize(
    "command",
    [
        ("hadolint", "deploy/Dockerfile"),
        ("shellcheck", "deploy/certificates.sh", "deploy/slurm/landweave.sbatch", ".ci/run"),
    ],
    ids=lambda command: command[0],
)
def test_a_linter_is_content(command: tuple[str, ...]) -> None:
    program = Path(sys.executable).parent / command[0]
    ended = subprocess.run([program, *command[1:]], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_everything_in_the_image_is_pinned() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    installs = re.findall(r"pip install (.*)", text)
    assert installs
    assert all(each.startswith("--constraint /opt/constraints.txt") for each in installs)
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["10001:10001"] * 2


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    return Small.make(tmp_path_factory.mktemp("small"))


def cluster_settings(small: Small, name: str) -> ClusterSettings:
    config = load_config(small.config(), cluster=name)
    found = engine_settings(config.engine, config.model.torch_threads).cluster
    assert found is not None
    return found


CONFIGS = sorted(path for path in (ROOT / "configs").rglob("*.yaml") if path.parent.name != "crosswalks")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_loads(path: Path, small: Small) -> None:
    if path.parent.name == "models":
        assert find_card(path).name == path.stem
    elif path.parent.name == "clusters":
        engine = load_config(small.config(), cluster=path.stem).engine
        assert engine.cluster or engine.address
        assert load_config(small.config(), cluster=path).engine == engine
    else:
        assert load_config(path).inputs
        if path.parent.name in ("configs", "examples"):
            assert example_config(path.stem).inputs


def test_the_clusters_kinds_are_those_that_are_documented(small: Small) -> None:
    names = {path.stem for path in CLUSTERS}
    assert names == {"local", "local-gpus", "slurm", "kubernetes", "gateway", "address"}
    assert {cluster_settings(small, name).kind for name in names - {"address"}} == names - {"address"} <= KINDS.keys()


def test_a_cluster_replaces_the_workers_of_a_configuration(small: Small) -> None:
    config = small.config(engine={"kind": "dask", "workers": 3, "memory_gib": 1, "patience": 5})
    engine = load_config(config, cluster="slurm").engine
    assert (engine.workers, engine.memory_gib, engine.patience) == (None, 16, 5)
    changed = load_config(config, cluster="slurm", overrides={"engine.memory_gib": 2}).engine
    assert changed.memory_gib == 2
    with pytest.raises(ConfigError, match="--cluster slrum is none of address, gateway"):
        load_config(config, cluster="slrum")
    for section, part in (
        ({"cluster": {"kind": "slurm", "max_workers": 2}}, "memory_gib"),
        (
            {"cluster": {"kind": "slurm", "max_workers": 2}, "memory_gib": 2, "workers": 2},
            "without address and workers",
        ),
        ({"cluster": {"kind": "slurm", "max_workers": 2, "min_workers": 3}, "memory_gib": 2}, "more than max_workers"),
    ):
        with pytest.raises(ConfigError, match=part):
            small.loaded(engine={"kind": "dask", **section})


@pytest.mark.parametrize("kind", ["slurm", "pbs"])
def test_the_script_of_a_job_retires_its_worker_in_time(kind: str, small: Small) -> None:
    """dask-jobqueue writes the script; nothing is submitted."""
    settings = cluster_settings(small, "slurm")
    settings = replace(settings, security=("/shared/ca.pem", "/shared/worker.pem", "/shared/worker.key"))
    arguments = KINDS[kind].arguments(settings)
    arguments |= {key: value for key, value in settings.settings.items() if key != "job_cpu"}
    if kind != "slurm":
        arguments.pop("job_cpu", None)
    arguments.pop("silence_logs")
    job = getattr(import_quietly("dask_jobqueue"), KINDS[kind].name).job_cls
    script = job("tls://host:8786", name="worker", config_name=kind, **arguments).job_script()
    assert "--lifetime 13440s --lifetime-stagger 300s" in script  # of 4 hours
    assert "-m landweave worker tls://host:8786" in script
    assert "--torch-threads 1" in script
    assert "--nthreads 2" in script
    assert "--tls-ca-file /shared/ca.pem --tls-cert /shared/worker.pem --tls-key /shared/worker.key" in script


def test_a_walltime_is_never_outlived() -> None:
    for walltime, seconds in (("00:01:00", 60), ("30", 1800), ("2-00:00:00", 172800)):
        _, lifetime, _, stagger = lifetime_arguments(walltime)
        latest = int(lifetime[:-1]) + int(stagger[:-1])
        assert seconds / 2 < latest < seconds
    with pytest.raises(ConfigError, match="HH:MM:SS"):
        lifetime_arguments("four hours")


def test_the_operator_takes_the_cluster_of_kubernetes(small: Small) -> None:
    from dask_kubernetes.operator import make_cluster_spec

    settings = cluster_settings(small, "kubernetes")
    given = {**KINDS["kubernetes"].arguments(settings), **settings.settings}
    known = {key: given[key] for key in ("name", "image", "n_workers", "resources", "env")}
    spec = make_cluster_spec(**known)
    check_resource("DaskCluster", spec)
    (container,) = spec["spec"]["worker"]["spec"]["containers"]
    assert {"name": "OMP_NUM_THREADS", "value": "1"} in container["env"]


def test_a_package_that_is_not_installed_is_named(small: Small) -> None:
    from landweave.engine.clusters import cluster_engine

    settings = cluster_settings(small, "local-gpus")
    with pytest.raises(ConfigError, match="needs dask-cuda"), cluster_engine(settings):
        pass


def test_a_queue_that_is_not_here_is_named(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    from landweave.engine.clusters import cluster_engine

    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match="there is no sbatch here"), cluster_engine(cluster_settings(small, "slurm")):
        pass


def test_certificates_let_those_in_who_have_one(tmp_path: Path) -> None:
    from distributed import Client, LocalCluster
    from distributed.security import Security

    for folder in ("ours", "theirs"):
        subprocess.run([DEPLOY / "certificates.sh", tmp_path / folder], check=True, capture_output=True)
    first = (tmp_path / "ours" / "ca.pem").read_bytes()
    subprocess.run([DEPLOY / "certificates.sh", tmp_path / "ours"], check=True, capture_output=True)
    assert (tmp_path / "ours" / "ca.pem").read_bytes() == first  # an authority is used again
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "ours").glob("*.key"))

    def security(folder: str) -> Security:
        files = {
            f"tls_{role}_{part}": str(tmp_path / folder / f"{role}.{ending}")
            for role in ("scheduler", "worker", "client")
            for part, ending in (("cert", "pem"), ("key", "key"))
        }
        return Security(tls_ca_file=str(tmp_path / folder / "ca.pem"), require_encryption=True, **files)

    with LocalCluster(
        n_workers=1, processes=False, security=security("ours"), dashboard_address=":0", protocol="tls://"
    ) as cluster:
        with Client(cluster.scheduler_address, security=security("ours"), set_as_default=False) as client:
            assert client.submit(os.getpid).result() == os.getpid()
        with pytest.raises(OSError, match=r"(?i)ssl|tls|time"):
            Client(cluster.scheduler_address, security=security("theirs"), set_as_default=False, timeout=2)


SIZED = {"flair1-unet-resnet34": 5, "LC-A": 3}
"""Cards of the sizing table, with the bands that a plan reads."""


def sizes_table() -> str:
    """The table of deploy/README.md, by the arithmetic of plans: aerial bytes, confidence beside the classes."""
    lines = [
        "| model | block, px | memory of a worker on a CPU | beside a GPU | of the GPU |",
        "|---|---|---|---|---|",
    ]
    for name, bands in SIZED.items():
        card = find_card(name)
        for block in (2048, 4096, 8192):
            cpu, gpu = (planned_memory(card, bands, block, on_gpu=on_gpu) for on_gpu in (False, True))
            cells = [f"{size / GIB:.1f} GiB" for size in (cpu.worker, gpu.worker, gpu.gpu)]
            lines.append(f"| {name} | {block:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def planned_memory(card: ModelCard, bands: int, block: int, *, on_gpu: bool) -> BlockMemory:
    settings = InferenceSettings(
        card=card, output=next(iter(card.outputs)), window=card.window.size, batch_size=card.numerics.batch,
        torch_threads=2, device="cpu",
    )  # fmt: skip
    model = TorchModel(settings=settings, weights=Path("none"), weights_sha256="")
    memory = ModelMemory(
        bytes=model.memory_bytes(), window=settings.window, classes=len(settings.output_spec.legend),
        batch=settings.batch_size, loading=model.loading_bytes, on_gpu=on_gpu,
    )  # fmt: skip
    inputs = [InputMemory(factor=Fraction(1), bands=bands, itemsize=1, dates=1, around=0)]
    return replace(block_memory(block, block, inputs=inputs, model=memory, output_bytes=2), files=KEPT_BYTES)


@pytest.mark.slow
def test_the_sizes_are_those_of_plans() -> None:
    assert sizes_table() in (DEPLOY / "README.md").read_text()
