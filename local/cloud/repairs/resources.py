"""T13: properties that MiniStack's stacks drop: a table's TTL and backups, a function's reserved concurrency."""

from collections.abc import Callable
from typing import Any

from ministack.services import dynamodb, lambda_svc
from ministack.services.cloudformation import provisioners

from local.cloud.repairs.patching import Function, expect, replace

Properties = dict[str, Any]
_CREATE = "(logical_id, props, stack_name)"
_UPDATE = "(physical_id, old_props, new_props, stack_name, logical_id=None)"


def apply() -> None:
    """Applies them after a table or function was created or updated."""
    expect(dynamodb, "_update_ttl", "(data)", ('data.get("TimeToLiveSpecification", {})',))
    expect(dynamodb, "_update_continuous_backups", "(data)", ('"PointInTimeRecoveryEnabled"',))
    expect(lambda_svc, "_put_function_concurrency", "(func_name: str, data: dict)")
    for resource_type, prefix, finish in (
        ("AWS::DynamoDB::Table", "_ddb", _finish_table),
        ("AWS::Lambda::Function", "_lambda", _finish_function),
    ):
        handlers = provisioners._RESOURCE_HANDLERS[resource_type]
        replace(provisioners, f"{prefix}_create", _CREATE, _created(finish))
        replace(provisioners, f"{prefix}_update", _UPDATE, _updated(finish))
        handlers["create"] = getattr(provisioners, f"{prefix}_create")
        handlers["update"] = getattr(provisioners, f"{prefix}_update")


def _created(finish: Callable[[str, Properties, Properties], None]) -> Callable[[Function], Function]:
    def make(original: Function) -> Function:
        def create(logical_id: str, props: Properties, stack_name: str) -> Any:
            name, attributes = original(logical_id, props, stack_name)
            finish(name, {}, props)
            return name, attributes

        return create

    return make


def _updated(finish: Callable[[str, Properties, Properties], None]) -> Callable[[Function], Function]:
    def make(original: Function) -> Function:
        def update(
            physical_id: str, old_props: Properties, new_props: Properties, stack_name: str, logical_id: Any = None
        ) -> Any:
            name, attributes = original(physical_id, old_props, new_props, stack_name, logical_id)
            finish(name, old_props, new_props)
            return name, attributes

        return update

    return make


def _finish_table(name: str, old: Properties, new: Properties) -> None:
    ttl = new.get("TimeToLiveSpecification") or {**(old.get("TimeToLiveSpecification") or {}), "Enabled": False}
    if ttl.get("AttributeName"):
        enabled = str(ttl.get("Enabled", True)).lower() == "true"
        specification = {"AttributeName": ttl["AttributeName"], "Enabled": enabled}
        _require(dynamodb._update_ttl({"TableName": name, "TimeToLiveSpecification": specification}))
    backups = new.get("PointInTimeRecoverySpecification") or {}
    enabled = str(backups.get("PointInTimeRecoveryEnabled", False)).lower() == "true"
    specification = {"PointInTimeRecoveryEnabled": enabled}
    _require(
        dynamodb._update_continuous_backups({"TableName": name, "PointInTimeRecoverySpecification": specification})
    )


def _finish_function(name: str, old: Properties, new: Properties) -> None:
    reserved = new.get("ReservedConcurrentExecutions")
    if reserved is not None:
        _require(lambda_svc._put_function_concurrency(name, {"ReservedConcurrentExecutions": int(reserved)}))
    elif "ReservedConcurrentExecutions" in old:
        _require(lambda_svc._delete_function_concurrency(name))


def _require(response: Any) -> None:
    status, _, body = response
    if status >= 400:
        raise ValueError(body.decode() if isinstance(body, bytes) else str(body))
