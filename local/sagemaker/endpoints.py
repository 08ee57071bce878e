"""Endpoints and their configurations: create, update without a failed request, roll back, delete, invoke."""

import itertools
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.host import Scope
from local.sagemaker.context import Context, milliseconds
from local.sagemaker.errors import SageMakerError, invalid
from local.sagemaker.fleet import Fleet, VariantPlan, plan
from local.sagemaker.hosting import HostingError, NotReachableError
from local.sagemaker.jobs import folder, internal, reason
from local.sagemaker.listing import page, summary
from local.sagemaker.models import Models
from local.sagemaker.store import ENDPOINT, ENDPOINT_CONFIG, Record

REAL_TIME_LIMIT = 6_291_456
SERVERLESS_LIMIT = 4_194_304
_EVENT_STATUS = {
    "Creating": "CREATING",
    "Updating": "UPDATING",
    "RollingBack": "ROLLING_BACK",
    "InService": "IN_SERVICE",
    "Failed": "FAILED",
    "Deleting": "DELETING",
}
_RESTORE_ATTEMPTS = 30
_RESTORE_INTERVAL = 0.5
_FORWARDED = ("content-type", "accept", "x-amzn-sagemaker-custom-attributes")


class EndpointConfigs:
    """CreateEndpointConfig and what belongs to it."""

    def __init__(self, ctx: Context, models: Models) -> None:
        self._ctx = ctx
        self._models = models
        self.actions = {
            "CreateEndpointConfig": self.create,
            "DescribeEndpointConfig": self.describe,
            "ListEndpointConfigs": self.list_page,
            "DeleteEndpointConfig": self.delete,
        }

    def create(self, scope: Scope, request: Record) -> Record:
        """Its models must exist; it never changes afterwards."""
        for field in ("AsyncInferenceConfig", "ExplainerConfig", "ShadowProductionVariants", "DataCaptureConfig"):
            if field in request:
                raise invalid(f"{field} is not supported here.")
        names = [variant["VariantName"] for variant in request["ProductionVariants"]]
        if len(set(names)) < len(names):
            raise invalid("Production variant names must be unique within an endpoint configuration.")
        for variant in request["ProductionVariants"]:
            self._check(scope, variant)
        variants = [{"InitialVariantWeight": 1.0, **variant} for variant in request["ProductionVariants"]]
        fields = {field: value for field, value in request.items() if field != "Tags"}
        record = {
            **fields,
            "ProductionVariants": variants,
            "CreationTime": time.time(),
            "EnableNetworkIsolation": False,
        }
        name = request["EndpointConfigName"]
        return {"EndpointConfigArn": self._ctx.store.add(scope, ENDPOINT_CONFIG, name, record, request.get("Tags"))}

    def describe(self, scope: Scope, request: Record) -> Record:
        """The whole record."""
        return self._ctx.store.get(scope, ENDPOINT_CONFIG, request["EndpointConfigName"])

    def list_page(self, scope: Scope, request: Record) -> Record:
        """Summaries, a page at a time."""
        found, more = page(self._ctx.store.all(scope, ENDPOINT_CONFIG), request, name="EndpointConfigName")
        fields = ("EndpointConfigName", "EndpointConfigArn", "CreationTime")
        return {"EndpointConfigs": [summary(record, *fields) for record in found], **more}

    def delete(self, scope: Scope, request: Record) -> Record:
        """As on AWS, also one that an endpoint uses."""
        self._ctx.store.remove(scope, ENDPOINT_CONFIG, request["EndpointConfigName"])
        return {}

    def plans(self, scope: Scope, name: str) -> list[VariantPlan]:
        """The variants with their models."""
        config = self._ctx.store.get(scope, ENDPOINT_CONFIG, name)
        return [
            plan(variant, self._models.spec(scope, variant["ModelName"])) for variant in config["ProductionVariants"]
        ]

    def _check(self, scope: Scope, variant: Record) -> None:
        name = variant["VariantName"]
        if "ModelName" not in variant:
            raise invalid(f"Production variant {name} must have a ModelName.")
        self._models.spec(scope, variant["ModelName"])
        if "ServerlessConfig" in variant:
            if "InstanceType" in variant or "InitialInstanceCount" in variant:
                raise invalid(f"Production variant {name} has a ServerlessConfig and must not name instances.")
            if variant["ServerlessConfig"]["MemorySizeInMB"] % 1024:
                raise invalid("MemorySizeInMB must be one of 1024, 2048, 3072, 4096, 5120, 6144.")
        elif not {"InstanceType", "InitialInstanceCount"} <= variant.keys():
            raise invalid(f"Production variant {name} must have InstanceType and InitialInstanceCount.")


class Endpoints:
    """CreateEndpoint and what belongs to it."""

    def __init__(self, ctx: Context, configs: EndpointConfigs) -> None:
        self._ctx = ctx
        self._configs = configs
        self._lock = threading.Lock()
        self._fleets: dict[tuple[Scope, str], Fleet] = {}
        self._generation = itertools.count()
        self.actions = {
            "CreateEndpoint": self.create,
            "DescribeEndpoint": self.describe,
            "ListEndpoints": self.list_page,
            "UpdateEndpoint": self.update,
            "DeleteEndpoint": self.delete,
        }

    def create(self, scope: Scope, request: Record) -> Record:
        """Creating, then InService or Failed."""
        name, config, now = request["EndpointName"], request["EndpointConfigName"], time.time()
        plans = self._configs.plans(scope, config)
        record = {
            "EndpointName": name,
            "EndpointConfigName": config,
            "EndpointStatus": "Creating",
            "CreationTime": now,
            "LastModifiedTime": now,
        }
        if "DeploymentConfig" in request:
            record["LastDeploymentConfig"] = request["DeploymentConfig"]
        arn = self._ctx.store.add(scope, ENDPOINT, name, record, request.get("Tags"))
        self._emit(scope, name)
        self._ctx.run(self._create, scope, name, plans)
        return {"EndpointArn": arn}

    def describe(self, scope: Scope, request: Record) -> Record:
        """The whole record."""
        return self._ctx.store.get(scope, ENDPOINT, request["EndpointName"])

    def list_page(self, scope: Scope, request: Record) -> Record:
        """Summaries, a page at a time."""
        records = self._ctx.store.all(scope, ENDPOINT)
        found, more = page(records, request, name="EndpointName", status="EndpointStatus")
        fields = ("EndpointName", "EndpointArn", "CreationTime", "LastModifiedTime", "EndpointStatus")
        return {"Endpoints": [summary(record, *fields) for record in found], **more}

    def update(self, scope: Scope, request: Record) -> Record:
        """Updating, then InService on the new configuration, or rolled back and InService on the old one."""
        name, config = request["EndpointName"], request["EndpointConfigName"]
        with self._ctx.store.locked():
            record = self._settled(scope, name)
            if record["EndpointStatus"] == "Failed":
                raise invalid(f'Cannot update failed endpoint "{record["EndpointArn"]}": delete it.')
            plans = self._configs.plans(scope, config)
            if request.get("RetainAllVariantProperties"):
                plans = _retained(plans, record, request.get("ExcludeRetainedVariantProperties", []))
            changes: Record = {"PendingDeploymentSummary": {"EndpointConfigName": config, "StartTime": time.time()}}
            if "DeploymentConfig" in request:
                changes["LastDeploymentConfig"] = request["DeploymentConfig"]
            self._move(scope, name, "Updating", **changes)
        self._emit(scope, name)
        self._ctx.run(self._update, scope, name, config, plans)
        return {"EndpointArn": record["EndpointArn"]}

    def delete(self, scope: Scope, request: Record) -> Record:
        """Takes no new request, answers those under way, and is gone."""
        name = request["EndpointName"]
        with self._ctx.store.locked():
            self._settled(scope, name)
            self._move(scope, name, "Deleting")
        self._emit(scope, name)
        with self._lock:
            fleet = self._fleets.pop((scope, name.lower()), None)
        self._ctx.run(self._delete, scope, name, fleet)
        return {}

    def invoke(
        self, scope: Scope, name: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of a prediction; raises ValidationError or ModelError."""
        lowered = {header.lower(): value for header, value in headers.items()}
        record = self._ctx.store.find(scope, ENDPOINT, name)
        with self._lock:
            fleet = self._fleets.get((scope, name.lower()))
            if record is None or record["EndpointName"] != name or fleet is None:
                raise SageMakerError("ValidationError", f"Endpoint {name} of account {scope.account} not found.")
            fleet.enter()
        try:
            variant = lowered.get("x-amzn-sagemaker-target-variant") or fleet.pick()
            if variant not in fleet.plans:
                raise SageMakerError("ValidationError", f"Variant {variant} not found for endpoint {name}.")
            _check_size(body, fleet.plans[variant])
            sent = {header: lowered[header] for header in _FORWARDED if header in lowered}
            answer = fleet.invoke(variant, body, sent)
        except HostingError as error:
            raise _model_error(scope, name, 0 if error.timed_out else 500, str(error)) from error
        finally:
            fleet.leave()
        if answer.status >= 400:
            raise _model_error(scope, name, answer.status, answer.body.decode(errors="replace"))
        given = {"Content-Type": answer.content_type, "x-Amzn-Invoked-Production-Variant": variant}
        if answer.attributes:
            given["X-Amzn-SageMaker-Custom-Attributes"] = answer.attributes
        return answer.status, given, answer.body

    def restore(self) -> None:
        """After a restart: whatever served or was on its way to serve is started again."""
        for scope, record in self._ctx.store.everywhere(ENDPOINT):
            if record["EndpointStatus"] == "Deleting":
                self._ctx.store.remove(scope, ENDPOINT, record["EndpointName"])
            elif record["EndpointStatus"] != "Failed":
                self._ctx.run(self._restore, scope, record)

    def close(self) -> None:
        """Ends all containers at once."""
        with self._lock:
            fleets, self._fleets = list(self._fleets.values()), {}
        for fleet in fleets:
            fleet.close()

    def _create(self, scope: Scope, name: str, plans: list[VariantPlan]) -> None:
        try:
            fleet = self._started(scope, name, plans)
        except HostingError as error:
            self._settle(scope, name, "Failed", FailureReason=reason(str(error)))
        else:
            self._serve(scope, name, fleet)
            self._settle(scope, name, "InService", ProductionVariants=_shown(plans))

    def _update(self, scope: Scope, name: str, config: str, plans: list[VariantPlan]) -> None:
        pending = ("PendingDeploymentSummary",)
        try:
            fleet = self._started(scope, name, plans)
        except HostingError as error:
            self._settle(scope, name, "RollingBack", FailureReason=reason(str(error)))
            self._settle(scope, name, "InService", drop=pending)
            return
        old = self._serve(scope, name, fleet)
        variants = _shown(plans)
        self._settle(
            scope,
            name,
            "InService",
            drop=(*pending, "FailureReason"),
            EndpointConfigName=config,
            ProductionVariants=variants,
        )
        if old:
            old.drain()

    def _delete(self, scope: Scope, name: str, fleet: Fleet | None) -> None:
        if fleet:
            fleet.drain()
        self._ctx.store.remove(scope, ENDPOINT, name)

    def _restore(self, scope: Scope, record: Record) -> None:
        name, status = record["EndpointName"], record["EndpointStatus"]
        pending = record.get("PendingDeploymentSummary", {}).get("EndpointConfigName")
        if status == "InService":
            self._move(scope, name, "SystemUpdating")
        try:
            plans = self._configs.plans(scope, record["EndpointConfigName"])
            fleet = self._started_when_ready(scope, name, plans)
        except (HostingError, SageMakerError) as error:
            self._settle(scope, name, "Failed", drop=("PendingDeploymentSummary",), FailureReason=reason(str(error)))
            return
        self._serve(scope, name, fleet)
        if pending:
            self._restore_update(scope, name, pending)
        else:
            # Nothing has changed for anyone outside, unless the endpoint was on its way here.
            settle = self._move if status in ("InService", "SystemUpdating") else self._settle
            settle(scope, name, "InService", ProductionVariants=_shown(plans))

    def _restore_update(self, scope: Scope, name: str, config: str) -> None:
        try:
            plans = self._configs.plans(scope, config)
        except SageMakerError as error:
            self._settle(scope, name, "RollingBack", FailureReason=reason(error.message))
            self._settle(scope, name, "InService", drop=("PendingDeploymentSummary",))
        else:
            self._update(scope, name, config, plans)

    def _started_when_ready(self, scope: Scope, name: str, plans: list[VariantPlan]) -> Fleet:
        """The cloud around the engine may come up after it: its S3 is asked again until it answers."""
        for _ in range(_RESTORE_ATTEMPTS):
            try:
                return self._started(scope, name, plans)
            except NotReachableError:
                if self._ctx.closed.wait(_RESTORE_INTERVAL):
                    raise
        return self._started(scope, name, plans)

    def _started(self, scope: Scope, name: str, plans: list[VariantPlan]) -> Fleet:
        base = folder(self._ctx, scope, ENDPOINT, name) / str(next(self._generation))
        fleet = Fleet(self._ctx, scope, name, plans, base)
        try:
            fleet.start()
        except HostingError:
            raise
        except (ClientError, BotoCoreError, OSError) as error:
            raise NotReachableError(f"The execution role could not be used: {error}") from error
        except Exception as error:
            raise HostingError(internal(error, name)) from error
        return fleet

    def _serve(self, scope: Scope, name: str, fleet: Fleet) -> Fleet | None:
        """From here on requests go to this fleet; answers the one they went to before."""
        with self._lock:
            old = self._fleets.get((scope, name.lower()))
            self._fleets[scope, name.lower()] = fleet
        return old

    def _settled(self, scope: Scope, name: str) -> Record:
        record = self._ctx.store.get(scope, ENDPOINT, name)
        if record["EndpointStatus"] not in ("InService", "Failed"):
            raise invalid(f'Cannot update in-progress endpoint "{record["EndpointArn"]}".')
        return record

    def _settle(self, scope: Scope, name: str, status: str, *, drop: tuple[str, ...] = (), **fields: Any) -> None:
        self._move(scope, name, status, drop=drop, **fields)
        self._emit(scope, name)

    def _move(self, scope: Scope, name: str, status: str, *, drop: tuple[str, ...] = (), **fields: Any) -> None:
        changed = {"EndpointStatus": status, "LastModifiedTime": time.time(), **fields}
        self._ctx.store.update(scope, ENDPOINT, name, drop=drop, **changed)

    def _emit(self, scope: Scope, name: str) -> None:
        record = self._ctx.store.get(scope, ENDPOINT, name)
        variants = [
            {key: variant[key] for key in variant if key != "DeployedImages"}
            for variant in record.get("ProductionVariants", [])
        ]
        detail = {
            **summary(record, "EndpointName", "EndpointArn", "EndpointConfigName", "FailureReason"),
            "ProductionVariants": variants,
            "EndpointStatus": _EVENT_STATUS[record["EndpointStatus"]],
            "CreationTime": milliseconds(record["CreationTime"]),
            "LastModifiedTime": milliseconds(record["LastModifiedTime"]),
            "Tags": self._ctx.store.tags(record["EndpointArn"]),
        }
        self._ctx.emit(scope, "Endpoint", record["EndpointArn"], detail)


def _model_error(scope: Scope, name: str, status: int, message: str) -> SageMakerError:
    group = f"/aws/sagemaker/Endpoints/{name}"
    side = "client" if 400 <= status < 500 else "server"
    return SageMakerError(
        "ModelError",
        f'Received {side} error ({status}) from primary with message "{message}". See '
        f"https://{scope.region}.console.aws.amazon.com/cloudwatch/home?region={scope.region}"
        f"#logEventViewer:group={group} in account {scope.account} for more information.",
        424,
        OriginalStatusCode=status,
        OriginalMessage=message,
        LogStreamArn=scope.arn("logs", f"log-group:{group}"),
    )


def _shown(plans: list[VariantPlan]) -> list[Record]:
    now = time.time()
    return [plan.summary(now) for plan in plans]


def _check_size(body: bytes, plan: VariantPlan) -> None:
    limit = SERVERLESS_LIMIT if plan.serverless else REAL_TIME_LIMIT
    if len(body) > limit:
        raise SageMakerError("413", f"HTTP content length exceeded {limit} bytes.", 413)


def _retained(plans: list[VariantPlan], record: Record, excluded: list[Record]) -> list[VariantPlan]:
    """The new variants with the weights and instance counts that those of the same name have now."""
    leave_out = {item["VariantPropertyType"] for item in excluded}
    current = {variant["VariantName"]: variant for variant in record.get("ProductionVariants", [])}
    result = []
    for new in plans:
        changes: dict[str, Any] = {}
        if (old := current.get(new.name)) and "DesiredWeight" not in leave_out:
            changes["weight"] = old["CurrentWeight"]
        if old and "DesiredInstanceCount" not in leave_out and not new.serverless and old["CurrentInstanceCount"]:
            changes["instances"] = old["CurrentInstanceCount"]
        result.append(replace(new, **changes))
    return result
