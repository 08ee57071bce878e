"""What an endpoint's record says at each moment, and the events that tell of it."""

import time
from typing import Any

from local.host import Scope
from local.sagemaker.context import Context, milliseconds
from local.sagemaker.errors import invalid
from local.sagemaker.listing import summary
from local.sagemaker.plans import FleetPlan
from local.sagemaker.store import ENDPOINT, Record

PENDING = "PendingDeploymentSummary"
_EVENT_STATUS = {
    "Creating": "CREATING",
    "Updating": "UPDATING",
    "RollingBack": "ROLLING_BACK",
    "InService": "IN_SERVICE",
    "Failed": "FAILED",
    "Deleting": "DELETING",
}


class EndpointRecords:
    """Endpoints' statuses, and who is told of them."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx

    def settled(self, scope: Scope, name: str) -> Record:
        """The record; refused while the endpoint is on its way to another state."""
        record = self._ctx.store.get(scope, ENDPOINT, name)
        if record["EndpointStatus"] not in ("InService", "Failed"):
            raise invalid(f'Cannot update in-progress endpoint "{record["EndpointArn"]}".')
        return record

    def updatable(self, scope: Scope, name: str) -> Record:
        """The record of an endpoint in service."""
        record = self.settled(scope, name)
        if record["EndpointStatus"] == "Failed":
            raise invalid(f'Cannot update failed endpoint "{record["EndpointArn"]}": delete it.')
        return record

    def move(self, scope: Scope, name: str, status: str, *, drop: tuple[str, ...] = (), **fields: Any) -> None:
        """Changes the status without a word."""
        changed = {"EndpointStatus": status, "LastModifiedTime": time.time(), **fields}
        self._ctx.store.update(scope, ENDPOINT, name, drop=drop, **changed)

    def settle(self, scope: Scope, name: str, status: str, *, drop: tuple[str, ...] = (), **fields: Any) -> None:
        """Changes the status and tells of it."""
        self.move(scope, name, status, drop=drop, **fields)
        self.announce(scope, name)

    def serve(self, scope: Scope, name: str, plan: FleetPlan, *, quietly: bool = False, forget: bool = False) -> None:
        """In service with what the plan says; `forget` drops the reason of an earlier failure."""
        fields = plan.summary()
        absent = [field for field, value in fields.items() if value is None]
        known = {field: value for field, value in fields.items() if value is not None}
        drop = (PENDING, *absent, *(("FailureReason",) if forget else ()))
        move = self.move if quietly else self.settle
        move(scope, name, "InService", drop=drop, **known)

    def announce(self, scope: Scope, name: str) -> None:
        """Sends the endpoint's state as it is."""
        record = self._ctx.store.get(scope, ENDPOINT, name)
        self._ctx.emit(scope, "Endpoint", record["EndpointArn"], self._detail(record))

    def deploying(self, scope: Scope, name: str, variants: list[Record]) -> None:
        """Notes how far the new fleet's variants are, and tells of it."""
        pending = {**self._ctx.store.get(scope, ENDPOINT, name)[PENDING], "ProductionVariants": variants}
        record = self._ctx.store.update(scope, ENDPOINT, name, PendingDeploymentSummary=pending)
        detail = {**self._detail(record), PENDING: _event_summary(pending)}
        self._ctx.emit(scope, "Endpoint Deployment", record["EndpointArn"], detail)

    def _detail(self, record: Record) -> Record:
        return {
            **summary(record, "EndpointName", "EndpointArn", "EndpointConfigName", "FailureReason"),
            "ProductionVariants": [_event_variant(variant) for variant in record.get("ProductionVariants", [])],
            "EndpointStatus": _EVENT_STATUS[record["EndpointStatus"]],
            "CreationTime": milliseconds(record["CreationTime"]),
            "LastModifiedTime": milliseconds(record["LastModifiedTime"]),
            "Tags": self._ctx.store.tags(record["EndpointArn"]),
        }


def _event_summary(pending: Record) -> Record:
    return {
        **pending,
        "StartTime": milliseconds(pending["StartTime"]),
        "ProductionVariants": [_event_variant(variant) for variant in pending["ProductionVariants"]],
    }


def _event_variant(variant: Record) -> Record:
    shown = {key: value for key, value in variant.items() if key != "DeployedImages"}
    if "VariantStatus" in shown:
        shown["VariantStatus"] = [
            {**status, "StartTime": milliseconds(status["StartTime"])} for status in shown["VariantStatus"]
        ]
    return shown
