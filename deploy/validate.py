# /// script
# requires-python = ">=3.11"
# dependencies = ["check-jsonschema==0.39.0", "kubernetes-validate==1.37.0", "jsonschema>=4.23", "pyyaml>=6.0"]
# ///
"""`uv run deploy/validate.py`: compare the files of this folder with the schemas of what reads them.

`compose.yaml` with the Compose Specification, `kubernetes/data.yaml` and all pods with Kubernetes,
`kubernetes/ray.yaml` with KubeRay's resource definition, and `kubernetes/dagster-values.yaml` with the schema of
Dagster's chart. Unknown fields are errors too. The last two schemas are downloaded, unless they are named.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import jsonschema
import kubernetes_validate
import yaml

DEPLOY = Path(__file__).parent
KUBERNETES = "1.37"
KUBERAY = (
    "https://raw.githubusercontent.com/ray-project/kuberay/v1.7.0/helm-chart/kuberay-operator/crds/"
    "ray.io_rayclusters.yaml"
)
CHART = "https://raw.githubusercontent.com/dagster-io/dagster/1.13.27/helm/dagster/values.schema.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kuberay", default=KUBERAY, metavar="FILE", help="resource definition of RayCluster")
    parser.add_argument("--chart", default=CHART, metavar="FILE", help="schema of the chart's values")
    arguments = parser.parse_args()
    checks: dict[str, Callable[[], None]] = {
        "compose.yaml, Compose Specification": compose,
        f"kubernetes/data.yaml and pods, Kubernetes {KUBERNETES}": resources,
        f"kubernetes/ray.yaml, {arguments.kuberay}": lambda: ray_cluster(arguments.kuberay),
        f"kubernetes/dagster-values.yaml, {arguments.chart}": lambda: chart_values(arguments.chart),
    }
    failed = 0
    for name, check in checks.items():
        try:
            check()
        except OSError as error:
            failed += 1
            print(f"NOT CHECKED {name}: {error}")
        except (jsonschema.ValidationError, kubernetes_validate.ValidationError, ValueError) as error:
            failed += 1
            print(f"INVALID {name}: {getattr(error, 'message', error)} {getattr(error, 'json_path', '')}")
        else:
            print(f"valid {name}")
    sys.exit(1 if failed else 0)


def compose() -> None:
    command = [
        Path(sys.executable).with_name("check-jsonschema"),
        "--builtin-schema",
        "vendor.compose-spec",
        DEPLOY / "compose.yaml",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(done.stdout + done.stderr)


def resources() -> None:
    cluster = load("kubernetes/ray.yaml")["spec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    pods = [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "ray"}, "spec": group["template"]["spec"]}
        for group in groups
    ]
    for each in (load("kubernetes/data.yaml"), *pods):
        kubernetes_validate.validate(each, KUBERNETES, strict=True)


def ray_cluster(definition: str) -> None:
    found = load("kubernetes/ray.yaml")
    (version,) = [
        each
        for each in yaml.safe_load(text_of(definition))["spec"]["versions"]
        if f"ray.io/{each['name']}" == found["apiVersion"]
    ]
    schema = version["schema"]["openAPIV3Schema"]
    close(schema)
    jsonschema.Draft202012Validator(schema).validate(found)


def chart_values(schema: str) -> None:
    jsonschema.validate(load("kubernetes/dagster-values.yaml"), yaml.safe_load(text_of(schema)))


def close(schema: Any) -> None:
    """Refuse fields that objects do not have; the server would drop them without a word."""
    if isinstance(schema, dict):
        is_open = schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("x-kubernetes-embedded-resource")
        if "properties" in schema and not is_open:
            # Resource definitions leave `apiVersion` and `metadata` to the server.
            schema.setdefault("additionalProperties", False)
        for name, each in schema.items():
            if name != "metadata":
                close(each)
    elif isinstance(schema, list):
        for each in schema:
            close(each)


def load(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


def text_of(address: str) -> str:
    if "://" not in address:
        return Path(address).read_text(encoding="utf-8")
    with urlopen(address, timeout=30) as answer:  # noqa: S310 - one of the addresses above, or the user's
        return str(answer.read().decode())


if __name__ == "__main__":
    main()
