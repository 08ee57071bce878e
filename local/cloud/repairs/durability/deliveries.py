"""What S3, EventBridge and Lambda have accepted to bring somewhere, after their answer."""

from dataclasses import asdict
from typing import Any

from ministack.services import lambda_svc, s3

from local.cloud.repairs import delivery
from local.cloud.repairs.durability.duties import Duties
from local.cloud.repairs.patching import edit, expect, replace

OBJECT_EVENT = "object-event"
RULE_DELIVERY = "rule-delivery"
INVOCATION = "asynchronous-invocation"
_FIRE_IN_BACKGROUND = (
    "(bucket_name: str, key: str, event_name: str, size: int = 0, etag: str = '', deletion_type: str | None = None, "
    "version_id: str | None = None, object_extra: dict | None = None, record_extra: dict | None = None) -> None"
)


def install(duties: Duties) -> None:
    """Owes each of them until it has arrived, or has become another duty, or lies in a dead-letter queue."""
    duties.handle(OBJECT_EVENT, lambda event: s3._fire_s3_event(**event))
    replace(
        s3,
        "_fire_s3_event_async",
        _FIRE_IN_BACKGROUND,
        lambda _: lambda *values, **more: _fire(duties, *values, **more),
        ("_next_event_sequencer(event_name)", "if bucket_name not in _bucket_notifications"),
    )
    duties.handle(RULE_DELIVERY, lambda content: delivery.deliver(delivery.Delivery(**content)))
    replace(
        delivery,
        "retry_in_background",
        "(delivery: local.cloud.repairs.delivery.Delivery, "
        "failure: local.cloud.repairs.delivery.UndeliverableError) -> None",
        lambda _: (
            lambda one, failure: duties.in_background(
                RULE_DELIVERY, asdict(one), lambda: delivery.retry_delivery(one, failure, delivery.attempt)
            )
        ),
    )
    duties.handle(INVOCATION, _invoke_again)
    expect(lambda_svc, "_execution_record_for_config", "(func: dict, config: dict) -> dict")
    lambda_svc._owed = lambda function, event, act: duties.until_done(INVOCATION, [_reference(function), event], act)
    edit(
        lambda_svc,
        "invoke_async_with_retry",
        "(func: dict, event: dict) -> None",
        "args=(_run,)",
        "args=(_owed(func, event, _run),)",
    )


def _fire(duties: Duties, bucket_name: str, key: str, event_name: str, *values: Any, **more: Any) -> None:
    if bucket_name not in s3._bucket_notifications:
        return
    names = ("size", "etag", "deletion_type", "version_id", "object_extra", "record_extra")
    event = {"bucket_name": bucket_name, "key": key, "event_name": event_name}
    event |= {**dict(zip(names, values, strict=False)), **more, "sequencer": s3._next_event_sequencer(event_name)}
    duties.in_background(OBJECT_EVENT, event, lambda: s3._fire_s3_event(**event))


def _reference(function: dict[str, Any]) -> str:
    config = function.get("config") or function
    arn, version = str(config["FunctionArn"]), str(config.get("Version", "$LATEST"))
    return arn if version == "$LATEST" or arn.endswith(f":{version}") else f"{arn}:{version}"


def _invoke_again(content: list[Any]) -> None:
    reference, event = content
    function, config, name = lambda_svc._get_func_record_for_ref(reference)
    if not function or not config:
        raise LookupError(f"The function {name} no longer exists.")
    lambda_svc.invoke_async_with_retry(lambda_svc._execution_record_for_config(function, config), event)
