"""What a training script finds: arguments, SM_* variables and the files of input/config, as on SageMaker."""

import json
import os
from pathlib import Path
from typing import Any

from local.host import Scope
from local.sagemaker.store import TRAINING_JOB, Record

HOST = "algo-1"
SCRIPT_MODE = {"sagemaker_program", "sagemaker_submit_directory"}
_PREFIX = "sagemaker_"
_INFO = 20


def program(request: Record) -> str:
    """The script's name."""
    return str(_hyperparameters(request)["sagemaker_program"])


def source_directory(request: Record) -> str:
    """Where the code archive is."""
    return str(_hyperparameters(request)["sagemaker_submit_directory"])


def arguments(request: Record) -> list[str]:
    """The user's hyperparameters as `--name value` in the order of names, a one-letter name with one dash."""
    result = []
    for name, value in sorted(_of_the_user(request).items()):
        pairs = ",".join(f"{key}={item}" for key, item in sorted(value.items())) if isinstance(value, dict) else value
        result += [f"--{name}" if len(name) > 1 else f"-{name}", str(pairs)]
    return result


def prepare(request: Record, scope: Scope, base: Path) -> dict[str, str]:
    """Writes the files of input/config and answers the variables; `base` stands for /opt/ml."""
    channels = {channel["ChannelName"]: _channel(channel) for channel in request.get("InputDataConfig", [])}
    resources = {
        "current_host": HOST,
        "hosts": [HOST],
        "current_instance_type": request["ResourceConfig"].get("InstanceType", ""),
        "current_group_name": "homogeneousCluster",
        "network_interface_name": "eth0",
    }
    files = {
        "hyperparameters": request.get("HyperParameters", {}),
        "inputdataconfig": channels,
        "resourceconfig": resources,
    }
    for file, content in files.items():
        (base / "input/config" / f"{file}.json").write_text(json.dumps(content))
    facts = {**_facts(request, channels, resources), **_places(base, list(channels))}
    name = request["TrainingJobName"]
    return {
        "SAGEMAKER_BASE_DIR": str(base),
        "SAGEMAKER_REGION": scope.region,
        "TRAINING_JOB_NAME": name,
        "TRAINING_JOB_ARN": TRAINING_JOB.arn(scope, name),
        "CURRENT_HOST": HOST,
        **{f"SM_{fact.upper()}": _text(value) for fact, value in facts.items()},
        "SM_TRAINING_ENV": _text(facts),
    }


def _facts(request: Record, channels: Record, resources: Record) -> Record:
    user = _of_the_user(request)
    return {
        "hosts": [HOST],
        "current_host": HOST,
        "current_instance_type": resources["current_instance_type"],
        "network_interface_name": resources["network_interface_name"],
        "hps": user,
        "user_args": arguments(request),
        "user_entry_point": program(request),
        "module_name": program(request).removesuffix(".py"),
        "module_dir": source_directory(request),
        "framework_module": "",
        "framework_params": {},
        "resource_config": resources,
        "input_data_config": channels,
        "channels": sorted(channels),
        "log_level": _INFO,
        "num_cpus": os.cpu_count() or 1,
        "num_gpus": 0,
        **{f"hp_{name}": value for name, value in user.items()},
    }


def _places(base: Path, channels: list[str]) -> Record:
    return {
        "input_dir": f"{base}/input",
        "input_config_dir": f"{base}/input/config",
        "model_dir": f"{base}/model",
        "output_dir": f"{base}/output",
        "output_data_dir": f"{base}/output/data",
        "output_intermediate_dir": f"{base}/output/intermediate",
        **{f"channel_{name}": f"{base}/input/data/{name}" for name in channels},
    }


def _hyperparameters(request: Record) -> Record:
    return {name: _unquoted(value) for name, value in request.get("HyperParameters", {}).items()}


def _of_the_user(request: Record) -> Record:
    return {name: value for name, value in _hyperparameters(request).items() if not name.startswith(_PREFIX)}


def _unquoted(value: str) -> Any:
    """A hyperparameter as the toolkit reads it: JSON where it is JSON."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"))


def _channel(channel: Record) -> Record:
    """A channel as input/config/inputdataconfig.json has it."""
    source = channel["DataSource"]["S3DataSource"]
    return {
        "TrainingInputMode": "File",
        "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
        "RecordWrapperType": channel.get("RecordWrapperType", "None"),
        **({"ContentType": channel["ContentType"]} if "ContentType" in channel else {}),
    }
