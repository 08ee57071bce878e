"""The engine with the few calls that most tests make, and code for its containers."""

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from botocore.model import ListShape, Shape, StructureShape

from local.host import Scope
from local.sagemaker import SageMakerEngine
from tests.integration.sagemaker.fakes import FakeHost, until

SCOPE = Scope("111122223333", "eu-west-1")
ROLE = "arn:aws:iam::111122223333:role/sagemaker-jobs"
IMAGE = "141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:3.0-5"
PYTHON = Path(__file__).parents[3] / ".envs/training/bin/python"

# An hour of a deployment's waits passes in 18 seconds.
SPEED = 200.0

# Adds the model's number to each record's x: enough to see which model answered, and nothing to wait for.
INFERENCE = """
import json, os, pathlib

def model_fn(model_dir):
    return json.loads((pathlib.Path(model_dir) / "model.json").read_text())

def input_fn(body, content_type):
    return [json.loads(line) for line in body.decode().splitlines()]

def predict_fn(rows, model):
    return [row["x"] + model["add"] for row in rows]

def output_fn(predictions, accept):
    return "".join(json.dumps({"y": value}) + "\\n" for value in predictions), accept
"""


def archive(files: Mapping[str, str]) -> bytes:
    """A tar.gz of text files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def unpacked(body: bytes) -> dict[str, str]:
    """The text files of a tar.gz."""
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        files = {member.name: tar.extractfile(member) for member in tar if member.isfile()}
        return {name: file.read().decode() for name, file in files.items() if file}


def training_request(name: str, **fields: Any) -> dict[str, Any]:
    """A CreateTrainingJob request whose code is at s3://artifacts/code.tar.gz."""
    return {
        "TrainingJobName": name,
        "RoleArn": ROLE,
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "HyperParameters": {
            "sagemaker_program": "train.py",
            "sagemaker_submit_directory": "s3://artifacts/code.tar.gz",
        },
        "OutputDataConfig": {"S3OutputPath": "s3://artifacts/models"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        **fields,
    }


def transform_request(name: str, **fields: Any) -> dict[str, Any]:
    """A CreateTransformJob request for JSON Lines below s3://data/in/."""
    return {
        "TransformJobName": name,
        "ModelName": "adder",
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://data/in/"}},
            "ContentType": "application/jsonlines",
            "SplitType": "Line",
        },
        "TransformOutput": {
            "S3OutputPath": "s3://data/out",
            "Accept": "application/jsonlines",
            "AssembleWith": "Line",
        },
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        **fields,
    }


def variant(model: str, name: str = "AllTraffic", **fields: Any) -> dict[str, Any]:
    """A serverless production variant."""
    return {
        "VariantName": name,
        "ModelName": model,
        "ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 20},
        **fields,
    }


def instances(model: str, count: int = 2, name: str = "AllTraffic", **fields: Any) -> dict[str, Any]:
    """A production variant on instances."""
    return {
        "VariantName": name,
        "ModelName": model,
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": count,
        **fields,
    }


def strangers(shape: Shape, value: Any) -> list[str]:
    """Fields of an answer, at any depth, that the service's model does not know."""
    if isinstance(shape, StructureShape):
        known = shape.members
        return [name for name in value if name not in known] + [
            name for field, item in value.items() if field in known for name in strangers(known[field], item)
        ]
    if isinstance(shape, ListShape):
        return [name for item in value for name in strangers(shape.member, item)]
    return []


class Cloud:
    """An engine and its host."""

    def __init__(self, engine: SageMakerEngine, host: FakeHost) -> None:
        self.engine = engine
        self.host = host

    def call(self, action: str, **request: Any) -> dict[str, Any]:
        """An API call."""
        return self.engine.call(SCOPE, action, request)

    def start_training(self, name: str, script: str, **fields: Any) -> None:
        """Starts a job that runs the script."""
        self.host.objects["artifacts/code.tar.gz"] = archive({"train.py": script})
        self.call("CreateTrainingJob", **training_request(name, **fields))

    def train(self, name: str, script: str, **fields: Any) -> dict[str, Any]:
        """Runs a job to its end and describes it."""
        self.start_training(name, script, **fields)
        return self.trained(name)

    def trained(self, name: str) -> dict[str, Any]:
        """Waits for a training job's end and describes it."""
        assert self.engine.wait_finished(SCOPE, "CreateTrainingJob", {"TrainingJobName": name}, 30)
        return self.call("DescribeTrainingJob", TrainingJobName=name)

    def transform(self, name: str, **fields: Any) -> dict[str, Any]:
        """Runs a transform job to its end and describes it."""
        self.call("CreateTransformJob", **transform_request(name, **fields))
        assert self.engine.wait_finished(SCOPE, "CreateTransformJob", {"TransformJobName": name}, 30)
        return self.call("DescribeTransformJob", TransformJobName=name)

    def model(self, name: str = "adder", add: float = 1, inference: str = INFERENCE, **environment: str) -> None:
        """Makes a model that adds a number."""
        files = {"model.json": json.dumps({"add": add}), "code/inference.py": inference}
        self.host.objects[f"artifacts/{name}.tar.gz"] = archive(files)
        contract = {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"}
        self.call(
            "CreateModel",
            ModelName=name,
            ExecutionRoleArn=ROLE,
            PrimaryContainer={
                "Image": IMAGE,
                "ModelDataUrl": f"s3://artifacts/{name}.tar.gz",
                "Environment": {**contract, **environment},
            },
        )

    def config(self, name: str, *variants: dict[str, Any], **more: Any) -> None:
        """Makes an endpoint configuration."""
        self.call("CreateEndpointConfig", EndpointConfigName=name, ProductionVariants=list(variants), **more)

    def endpoint(self, name: str = "live", config: str = "one") -> dict[str, Any]:
        """Makes an endpoint and waits until it serves or has failed."""
        self.call("CreateEndpoint", EndpointName=name, EndpointConfigName=config)
        return self.settled(name)

    def settled(self, name: str = "live") -> dict[str, Any]:
        """Waits until an endpoint is neither created nor updated, and describes it."""
        until(lambda: self.call("DescribeEndpoint", EndpointName=name)["EndpointStatus"] in ("InService", "Failed"))
        return self.call("DescribeEndpoint", EndpointName=name)

    def predict(self, x: float, name: str = "live", **headers: str) -> float:
        """What the endpoint answers for one record."""
        sent = {"Content-Type": "application/jsonlines", "Accept": "application/jsonlines", **headers}
        status, _, body = self.engine.invoke_endpoint(SCOPE, name, json.dumps({"x": x}).encode(), sent)
        assert status == 200
        return float(json.loads(body)["y"])
