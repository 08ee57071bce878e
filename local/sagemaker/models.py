"""Models: where an artefact is, which container serves it, and as whom."""

import time
from typing import Any

from local.host import Scope
from local.sagemaker import s3
from local.sagemaker.context import Context
from local.sagemaker.errors import invalid
from local.sagemaker.hosting import ModelSpec
from local.sagemaker.jobs import require_role
from local.sagemaker.listing import page, summary
from local.sagemaker.registry import ModelPackages
from local.sagemaker.store import MODEL, Record


class Models:
    """CreateModel and what belongs to it."""

    def __init__(self, ctx: Context, packages: ModelPackages) -> None:
        self._ctx = ctx
        self._packages = packages
        self.actions = {
            "CreateModel": self.create,
            "DescribeModel": self.describe,
            "ListModels": self.list_page,
            "DeleteModel": self.delete,
        }

    def create(self, scope: Scope, request: Record) -> Record:
        """Refuses, as AWS does, a model whose data its role cannot read."""
        if "ExecutionRoleArn" not in request:
            raise invalid("ExecutionRoleArn is required for a model.")
        if len(request.get("Containers", [])) > 1 or {"PrimaryContainer", "Containers"} <= request.keys():
            raise invalid("Only one container is supported here: give PrimaryContainer.")
        spec = self._spec(scope, request)
        require_role(self._ctx, scope, spec.role_arn)
        self._require_data(scope, spec)
        fields = {field: value for field, value in request.items() if field != "Tags"}
        record = {**fields, "CreationTime": time.time(), "EnableNetworkIsolation": False}
        return {"ModelArn": self._ctx.store.add(scope, MODEL, request["ModelName"], record, request.get("Tags"))}

    def describe(self, scope: Scope, request: Record) -> Record:
        """The whole record."""
        return self._ctx.store.get(scope, MODEL, request["ModelName"])

    def list_page(self, scope: Scope, request: Record) -> Record:
        """Summaries, a page at a time."""
        found, more = page(self._ctx.store.all(scope, MODEL), request, name="ModelName")
        return {"Models": [summary(record, "ModelName", "ModelArn", "CreationTime") for record in found], **more}

    def delete(self, scope: Scope, request: Record) -> Record:
        """The artefact stays; endpoints that serve it go on."""
        self._ctx.store.remove(scope, MODEL, request["ModelName"])
        return {}

    def spec(self, scope: Scope, name: str) -> ModelSpec:
        """What is needed to serve a model."""
        return self._spec(scope, self._ctx.store.get(scope, MODEL, name))

    def _spec(self, scope: Scope, record: Record) -> ModelSpec:
        container: dict[str, Any] = (record.get("Containers") or [record.get("PrimaryContainer")])[0] or {}
        if container.get("Mode") == "MultiModel":
            raise invalid("Multi-model containers are not supported here.")
        if package := container.get("ModelPackageName"):
            packaged = self._packages.container(scope, package)
            container = {
                **packaged,
                "Environment": {**packaged.get("Environment", {}), **container.get("Environment", {})},
            }
        if "Image" not in container:
            raise invalid("A model's container must have an Image or a ModelPackageName.")
        return ModelSpec(
            name=record["ModelName"],
            image=container["Image"],
            role_arn=record["ExecutionRoleArn"],
            data=_data(container),
            environment=container.get("Environment", {}),
        )

    def _require_data(self, scope: Scope, spec: ModelSpec) -> None:
        if spec.data is None or spec.data["CompressionType"] != "Gzip":
            return
        try:
            s3.reachable(self._ctx.host.client(scope, "s3", spec.role_arn), spec.data["S3Uri"])
        except s3.DataError as error:
            verb = "find" if "NoSuch" in str(error) else "access"
            raise invalid(
                f'Could not {verb} model data at {spec.data["S3Uri"]}. Please ensure that the role "{spec.role_arn}" '
                'exists and that its trust relationship policy allows the action "sts:AssumeRole" for the service '
                'principal "sagemaker.amazonaws.com". Also ensure that the role has "s3:GetObject" permissions and '
                f"that the object is located in {scope.region}. ({error})"
            ) from error


def _data(container: Record) -> Record | None:
    if "ModelDataUrl" in container:
        return {"S3Uri": container["ModelDataUrl"], "CompressionType": "Gzip"}
    source: Record | None = container.get("ModelDataSource", {}).get("S3DataSource")
    return source
