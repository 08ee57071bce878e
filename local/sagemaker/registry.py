"""The model registry: package groups, their numbered versions, and who approved what."""

import time
from datetime import UTC, datetime
from typing import Any

from local.host import Scope
from local.sagemaker.context import Context
from local.sagemaker.errors import SageMakerError, invalid
from local.sagemaker.listing import page, summary
from local.sagemaker.store import MODEL_PACKAGE, MODEL_PACKAGE_GROUP, Record

_EVENT_FIELDS = (
    "ModelPackageName",
    "ModelPackageGroupName",
    "ModelPackageVersion",
    "ModelPackageArn",
    "ModelPackageDescription",
    "InferenceSpecification",
    "ModelPackageStatus",
    "ModelPackageStatusDetails",
    "CertifyForMarketplace",
    "ModelApprovalStatus",
    "ApprovalDescription",
    "MetadataProperties",
    "ModelMetrics",
    "CustomerMetadataProperties",
)
_SUMMARY_FIELDS = (
    "ModelPackageName",
    "ModelPackageGroupName",
    "ModelPackageVersion",
    "ModelPackageArn",
    "ModelPackageDescription",
    "CreationTime",
    "ModelPackageStatus",
    "ModelApprovalStatus",
)
_REPLACED = (
    "ModelApprovalStatus",
    "ApprovalDescription",
    "InferenceSpecification",
    "SourceUri",
    "ModelCard",
    "ModelLifeCycle",
    "ModelPackageRegistrationType",
)


class ModelPackageGroups:
    """CreateModelPackageGroup and what belongs to it."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self.actions = {
            "CreateModelPackageGroup": self.create,
            "DescribeModelPackageGroup": self.describe,
            "ListModelPackageGroups": self.list_page,
            "DeleteModelPackageGroup": self.delete,
        }

    def create(self, scope: Scope, request: Record) -> Record:
        """An empty group."""
        fields = {field: value for field, value in request.items() if field != "Tags"}
        record = {**fields, "CreationTime": time.time(), "CreatedBy": {}, "ModelPackageGroupStatus": "Completed"}
        name = request["ModelPackageGroupName"]
        return {
            "ModelPackageGroupArn": self._ctx.store.add(scope, MODEL_PACKAGE_GROUP, name, record, request.get("Tags"))
        }

    def describe(self, scope: Scope, request: Record) -> Record:
        """The whole record."""
        return self._ctx.store.get(scope, MODEL_PACKAGE_GROUP, bare(request["ModelPackageGroupName"]))

    def list_page(self, scope: Scope, request: Record) -> Record:
        """Summaries, a page at a time."""
        records = self._ctx.store.all(scope, MODEL_PACKAGE_GROUP)
        found, more = page(records, request, name="ModelPackageGroupName", descending=False)
        fields = ("ModelPackageGroupName", "ModelPackageGroupArn", "ModelPackageGroupDescription", "CreationTime")
        summaries = [summary(record, *fields, "ModelPackageGroupStatus") for record in found]
        return {"ModelPackageGroupSummaryList": summaries, **more}

    def delete(self, scope: Scope, request: Record) -> Record:
        """Only an empty group can go."""
        name = bare(request["ModelPackageGroupName"])
        with self._ctx.store.locked():
            group = self._ctx.store.get(scope, MODEL_PACKAGE_GROUP, name)
            packages = self._ctx.store.all(scope, MODEL_PACKAGE)
            if any(package.get("ModelPackageGroupName", "").lower() == name.lower() for package in packages):
                raise SageMakerError(
                    "ConflictException",
                    f"Model Package Group {group['ModelPackageGroupArn']} cannot be deleted: it has model packages.",
                )
            self._ctx.store.remove(scope, MODEL_PACKAGE_GROUP, name)
        return {}


class ModelPackages:
    """CreateModelPackage and what belongs to it."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self.actions = {
            "CreateModelPackage": self.create,
            "DescribeModelPackage": self.describe,
            "ListModelPackages": self.list_page,
            "UpdateModelPackage": self.update,
            "DeleteModelPackage": self.delete,
        }

    def create(self, scope: Scope, request: Record) -> Record:
        """The next version of a group, or a package with a name of its own."""
        if ("ModelPackageName" in request) == ("ModelPackageGroupName" in request):
            raise invalid("Exactly one of ModelPackageName and ModelPackageGroupName must be given.")
        fields = {field: value for field, value in request.items() if field not in ("Tags", "ClientToken")}
        record = {
            **fields,
            "CreationTime": time.time(),
            "CreatedBy": {},
            "CertifyForMarketplace": request.get("CertifyForMarketplace", False),
            "ModelPackageStatus": "Completed",
            "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
        }
        if "ModelPackageGroupName" in request:
            key = self._as_version(scope, request, record)
        else:
            key = request["ModelPackageName"]
        arn = self._ctx.store.add(scope, MODEL_PACKAGE, key, record, request.get("Tags"))
        self._emit(scope, key)
        return {"ModelPackageArn": arn}

    def describe(self, scope: Scope, request: Record) -> Record:
        """The whole record, by ARN or name."""
        return self._ctx.store.get(scope, MODEL_PACKAGE, bare(request["ModelPackageName"]))

    def list_page(self, scope: Scope, request: Record) -> Record:
        """Versions of a group, or packages without one; newest first when asked for."""
        group = bare(request["ModelPackageGroupName"]).lower() if "ModelPackageGroupName" in request else None
        if group is not None:
            self._ctx.store.get(scope, MODEL_PACKAGE_GROUP, group)
        kind = request.get("ModelPackageType", "Versioned" if group else "Unversioned")
        records = [
            {"_name": record.get("ModelPackageName") or _version_key(record), **record}
            for record in self._ctx.store.all(scope, MODEL_PACKAGE)
            if kind == "Both" or (kind == "Versioned") == ("ModelPackageVersion" in record)
            if group is None or record.get("ModelPackageGroupName", "").lower() == group
            if request.get("ModelApprovalStatus") in (None, record.get("ModelApprovalStatus"))
        ]
        found, more = page(records, request, name="_name", descending=False)
        return {"ModelPackageSummaryList": [summary(record, *_SUMMARY_FIELDS) for record in found], **more}

    def update(self, scope: Scope, request: Record) -> Record:
        """Approves or rejects, and changes what may be changed."""
        key = bare(request["ModelPackageArn"])
        with self._ctx.store.locked():
            record = self._ctx.store.get(scope, MODEL_PACKAGE, key)
            changes: dict[str, Any] = {field: request[field] for field in _REPLACED if field in request}
            if metadata := record.get("CustomerMetadataProperties", {}) | request.get("CustomerMetadataProperties", {}):
                removed = request.get("CustomerMetadataPropertiesToRemove", [])
                changes["CustomerMetadataProperties"] = {k: v for k, v in metadata.items() if k not in removed}
            if added := request.get("AdditionalInferenceSpecificationsToAdd"):
                changes["AdditionalInferenceSpecifications"] = (
                    record.get("AdditionalInferenceSpecifications", []) + added
                )
            changes.update(LastModifiedTime=time.time(), LastModifiedBy={})
            self._ctx.store.update(scope, MODEL_PACKAGE, key, **changes)
        self._emit(scope, key)
        return {"ModelPackageArn": record["ModelPackageArn"]}

    def delete(self, scope: Scope, request: Record) -> Record:
        """The version's number is not used again."""
        self._ctx.store.remove(scope, MODEL_PACKAGE, bare(request["ModelPackageName"]))
        return {}

    def container(self, scope: Scope, name: str) -> Record:
        """The container of an approved package, for a Model that is made from it."""
        record = self._ctx.store.get(scope, MODEL_PACKAGE, bare(name))
        if record.get("ModelApprovalStatus", "Approved") != "Approved":
            raise invalid(
                f"Model package {record['ModelPackageArn']} has approval status {record['ModelApprovalStatus']}; "
                "only an Approved model package can be deployed."
            )
        containers: list[Record] = record.get("InferenceSpecification", {}).get("Containers", [])
        if len(containers) != 1:
            raise invalid(
                f"Model package {record['ModelPackageArn']} must have one container in InferenceSpecification."
            )
        return containers[0]

    def _as_version(self, scope: Scope, request: Record, record: Record) -> str:
        group = self._ctx.store.get(scope, MODEL_PACKAGE_GROUP, bare(request["ModelPackageGroupName"]))
        if request.get("Tags"):
            raise invalid("Tags are not allowed on a versioned model package: tag its model package group.")
        record["ModelPackageGroupName"] = group["ModelPackageGroupName"]
        record["ModelPackageVersion"] = self._ctx.store.next_version(group["ModelPackageGroupArn"])
        record.setdefault("ModelApprovalStatus", "PendingManualApproval")
        return _version_key(record)

    def _emit(self, scope: Scope, key: str) -> None:
        record = self._ctx.store.get(scope, MODEL_PACKAGE, key)
        detail = summary(record, *_EVENT_FIELDS)
        for field in ("CreationTime", "LastModifiedTime"):
            if field in record:
                detail[field] = datetime.fromtimestamp(record[field], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._ctx.emit(scope, "Model Package", record["ModelPackageArn"], detail)


def bare(name_or_arn: str) -> str:
    """`group/3` of a package's ARN, `group` of a group's, a name as it is."""
    return name_or_arn.split("/", 1)[1] if name_or_arn.startswith("arn:") else name_or_arn


def _version_key(record: Record) -> str:
    return f"{record['ModelPackageGroupName']}/{record['ModelPackageVersion']}"
