"""T3, T7, T27: EventBridge and Scheduler deliver by permission, try again, and keep what they cannot deliver.

MiniStack calls every target directly: no role, no resource policy, one attempt, and a failure is a line in its log.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import copy_context
from dataclasses import dataclass
from dataclasses import replace as altered
from datetime import UTC, datetime
from typing import Any

from ministack.core.arn import parse_arn
from ministack.core.responses import new_uuid
from ministack.services import eventbridge, lambda_svc, s3, sns, sqs, stepfunctions

from local.cloud.repairs.authority import Session, service_denial, trusts
from local.cloud.repairs.patching import Function, expect_all, replace

logger = logging.getLogger("delivery")

_ATTEMPTS, _AGE_SECONDS = 185, 24 * 3600  # AWS's defaults, and the most it allows
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.2, 5.0
_ACTIONS = {
    "lambda": "lambda:InvokeFunction",
    "sqs": "sqs:SendMessage",
    "sns": "sns:Publish",
    "states": "states:StartExecution",
}


_CALLED: tuple[tuple[Any, dict[str, str]], ...] = (
    (
        eventbridge,
        {
            "_apply_input_transformer": "(transformer, rule, view)",
            "_dispatch_to_sqs": "(spec, payload, sqs_parameters=None)",
            "_pattern_event_view": "(event)",
        },
    ),
    (
        lambda_svc,
        {
            "_execution_record_for_config": "(func: dict, config: dict) -> dict",
            "_get_func_record_for_ref": "(function_ref: str) -> tuple[dict | None, dict | None, str]",
            "invoke_async_with_retry": "(func: dict, event: dict) -> None",
        },
    ),
    (sns, {"_topic_by_arn_any_scope": "(topic_arn: str) -> dict | None"}),
    (
        sqs,
        {
            "_act_send_message": "(data: dict, qurl: str) -> dict",
            "_queue_by_arn": "(arn: str) -> dict | None",
        },
    ),
    (stepfunctions, {"_resolve_state_machine_arn": "(arn)", "_start_execution": "(data)"}),
)


class UndeliverableError(Exception):
    """A target that did not take an event: with the code and message that its dead-letter queue is told."""

    def __init__(self, code: str, message: str, *, retriable: bool = False) -> None:
        super().__init__(message)
        self.code, self.retriable = code, retriable


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how long a delivery is tried again."""

    attempts: int = _ATTEMPTS
    age_seconds: float = _AGE_SECONDS

    @classmethod
    def of(cls, target: dict[str, Any]) -> "RetryPolicy":
        """The target's RetryPolicy, with AWS's defaults for what it leaves out."""
        policy = target.get("RetryPolicy") or {}
        attempts = policy.get("MaximumRetryAttempts")
        age = policy.get("MaximumEventAgeInSeconds")
        return cls(_ATTEMPTS if attempts is None else int(attempts), _AGE_SECONDS if age is None else float(age))

    def waits(self) -> Iterator[float]:
        """The back-off before each further attempt: AWS's shape, shortened for one machine."""
        for attempt in range(self.attempts):
            yield min(_FIRST_WAIT_SECONDS * 2**attempt, _LONGEST_WAIT_SECONDS)


@dataclass(frozen=True)
class Delivery:
    """One event on its way to one target."""

    target: dict[str, Any]
    source: dict[str, Any]  # the rule, or the schedule
    event: str
    payload: str
    attempts: int = 0

    @property
    def arn(self) -> str:
        return str(self.target["Arn"])

    @property
    def scheduled(self) -> bool:
        return "Target" in self.source

    @property
    def principal(self) -> str:
        return "scheduler.amazonaws.com" if self.scheduled else "events.amazonaws.com"

    def session(self) -> Session:
        """The target's role, as the delivering service has assumed it."""
        role_arn = self.target["RoleArn"]
        if not trusts(role_arn, self.principal, _trust_source(self)):
            raise UndeliverableError(
                "FAILED_TO_ASSUME_ROLE", f"{self.principal} is not authorized to assume the role {role_arn}."
            )
        return Session(role_arn, new_uuid().replace("-", ""))

    def authorize(self, action: str, resource: str) -> None:
        """UndeliverableError unless the role, or else the resource's own policy, allows the delivery."""
        if self.target.get("RoleArn"):
            denial = self.session().denial(action, resource)
        elif action == _ACTIONS["states"]:
            denial = f"A target of Step Functions needs a role that {self.principal} may assume."
        else:
            denial = service_denial(self.principal, action, resource, self.source["Arn"])
        if denial:
            raise UndeliverableError("NO_PERMISSIONS", denial)


def apply() -> None:
    """Puts this module's delivery in place of MiniStack's for Lambda, SQS, SNS and Step Functions targets."""
    replace(eventbridge, "_invoke_target", "(target, event, rule, view=None)", _invoke_target, ("InputTransformer",))
    for service, called in _CALLED:
        expect_all(service, called)
    replace(
        sns,
        "_deliver_to_lambda",
        "(endpoint: str, envelope: str, topic_arn: str, sub_arn: str, msg_id: str, raw_message: str, "
        "message_attributes: dict)",
        _topic_to_function,
    )
    replace(
        s3,
        "_deliver_event_to_lambda",
        "(arn: str, event_payload: dict, bucket_region: str) -> None",
        _bucket_to_function,
    )


def _invoke_target(original: Function) -> Function:
    def invoke(target: dict[str, Any], event: dict[str, Any], rule: dict[str, Any], view: Any = None) -> None:
        if target.get("Arn", "").split(":")[2:3] not in [[service] for service in _DELIVER]:
            original(target, event, rule, view)
            return
        view = view or eventbridge._pattern_event_view(event)
        whole = json.dumps(view.event_with_detail())
        deliver(Delivery(target, rule, whole, _payload(target, rule, view, whole)))

    return invoke


def _payload(target: dict[str, Any], rule: dict[str, Any], view: Any, whole: str) -> str:
    if transformer := target.get("InputTransformer"):
        return str(eventbridge._apply_input_transformer(transformer, rule, view))
    if target.get("Input"):
        return str(target["Input"])
    document = json.loads(whole)
    try:
        for part in (target.get("InputPath") or "$").lstrip("$.").split("."):
            document = document[part] if part else document
    except (KeyError, TypeError):
        return whole
    return json.dumps(document)


def deliver(delivery: Delivery) -> None:
    """One attempt at once; further ones, if the failure may pass, in the background."""
    try:
        attempt(delivery)
    except UndeliverableError as failure:
        if failure.retriable:
            retry_in_background(delivery, failure)
        else:
            _bury(delivery, failure)


def retry_in_background(delivery: Delivery, failure: UndeliverableError) -> None:
    """Starts the further attempts, for the same account and region."""
    retry = copy_context().run
    threading.Thread(target=retry, args=(retry_delivery, delivery, failure, attempt), daemon=True).start()


def retry_delivery(
    delivery: Any,
    failure: UndeliverableError,
    attempt: Callable[[Any], None],
    *,
    bury: "Callable[[Any, UndeliverableError, str], None] | None" = None,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Tries until the target takes the event or its retry policy is used up, then buries it with the reason."""
    policy, started = RetryPolicy.of(delivery.target), now()
    exhausted = "MaximumRetryAttempts"
    for wait in policy.waits():
        if now() - started + wait > policy.age_seconds:
            exhausted = "MaximumEventAgeInSeconds"
            break
        sleep(wait)
        delivery = altered(delivery, attempts=delivery.attempts + 1)
        try:
            attempt(delivery)
        except UndeliverableError as error:
            failure = error
            if not failure.retriable:
                exhausted = ""
                break
        else:
            return
    (bury or _bury)(delivery, failure, exhausted)


def attempt(delivery: Delivery) -> None:
    service = delivery.arn.split(":")[2]
    try:
        _DELIVER[service](delivery)
    except UndeliverableError:
        raise
    except Exception as error:  # whatever a target's service does wrong may pass
        raise UndeliverableError("INTERNAL_ERROR", f"{type(error).__name__}: {error}", retriable=True) from error


def _to_function(delivery: Delivery) -> None:
    function, config, name = lambda_svc._get_func_record_for_ref(delivery.arn)
    if not function or not config:
        raise UndeliverableError("NO_RESOURCE", f"Function not found: {name}")
    delivery.authorize(_ACTIONS["lambda"], delivery.arn)
    record = lambda_svc._execution_record_for_config(function, config)
    lambda_svc.invoke_async_with_retry(record, json.loads(delivery.payload))


def _to_queue(delivery: Delivery) -> None:
    if sqs._queue_by_arn(delivery.arn) is None:
        raise UndeliverableError("NO_RESOURCE", f"The queue {delivery.arn} does not exist.")
    delivery.authorize(_ACTIONS["sqs"], delivery.arn)
    parameters = delivery.target.get("SqsParameters") or {}
    eventbridge._dispatch_to_sqs(parse_arn(delivery.arn), delivery.payload, parameters)


def _to_topic(delivery: Delivery) -> None:
    if sns._topic_by_arn_any_scope(delivery.arn) is None:
        raise UndeliverableError("NO_RESOURCE", f"The topic {delivery.arn} does not exist.")
    delivery.authorize(_ACTIONS["sns"], delivery.arn)
    try:
        sns.publish_internal(delivery.arn, delivery.payload)
    except sns.SnsPublishError as error:
        raise UndeliverableError("INVALID_PARAMETER", str(error)) from error


def _to_state_machine(delivery: Delivery) -> None:
    if stepfunctions._resolve_state_machine_arn(delivery.arn) is None:
        raise UndeliverableError("NO_RESOURCE", f"State Machine Does Not Exist: '{delivery.arn}'")
    delivery.authorize(_ACTIONS["states"], delivery.arn)
    status, _, body = stepfunctions._start_execution({"stateMachineArn": delivery.arn, "input": delivery.payload})
    if status >= 400:
        raise UndeliverableError("SDK_CLIENT_ERROR", str(body), retriable=status >= 500)


_DELIVER: dict[str, Callable[[Delivery], None]] = {
    "lambda": _to_function,
    "sqs": _to_queue,
    "sns": _to_topic,
    "states": _to_state_machine,
}


def _bury(delivery: Delivery, failure: UndeliverableError, exhausted: str = "") -> None:
    """Sends the event to the target's dead-letter queue, with the attributes that AWS documents."""
    queue_arn = str((delivery.target.get("DeadLetterConfig") or {}).get("Arn", ""))
    logger.warning("%s not delivered to %s: %s %s", delivery.source.get("Arn"), delivery.arn, failure.code, failure)
    queue = sqs._queue_by_arn(queue_arn)
    if queue is None:
        return
    try:
        denial = _dead_letter_denial(delivery, queue_arn)
    except UndeliverableError as error:
        denial = str(error)
    if denial:
        logger.warning("The event did not reach its dead-letter queue either: %s", denial)
        return
    attributes = {
        name: {"DataType": "String", "StringValue": value}
        for name, value in _attributes(delivery, failure, exhausted).items()
        if value
    }
    body = delivery.payload if delivery.scheduled else delivery.event
    sqs._act_send_message({"MessageBody": body, "MessageAttributes": attributes}, queue["url"])


def _dead_letter_denial(delivery: Delivery, queue_arn: str) -> str | None:
    if delivery.scheduled:
        return delivery.session().denial(_ACTIONS["sqs"], queue_arn)
    return service_denial(delivery.principal, _ACTIONS["sqs"], queue_arn, delivery.source["Arn"])


def _attributes(delivery: Delivery, failure: UndeliverableError, exhausted: str) -> dict[str, str]:
    common = {
        "TARGET_ARN": delivery.arn,
        "ERROR_CODE": failure.code,
        "ERROR_MESSAGE": str(failure),
        "EXHAUSTED_RETRY_CONDITION": exhausted,
        "RETRY_ATTEMPTS": str(delivery.attempts) if delivery.scheduled or delivery.attempts else "",
    }
    if not delivery.scheduled:
        return {"RULE_ARN": delivery.source["Arn"], **common}
    return {
        "SCHEDULE_ARN": delivery.source["Arn"],
        "SCHEDULED_TIME": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "EXECUTION_ID": new_uuid(),
        "IS_PAYLOAD_TRUNCATED": "false",
        **common,
    }


def _trust_source(delivery: Delivery) -> str:
    """What `aws:SourceArn` is when the role is assumed: the rule, or the schedule's group."""
    arn = str(delivery.source["Arn"])
    return arn.replace(":schedule/", ":schedule-group/").rpartition("/")[0] if delivery.scheduled else arn


def _topic_to_function(original: Function) -> Function:
    def to_function(endpoint: str, envelope: str, topic_arn: str, *rest: Any) -> None:
        if denial := service_denial("sns.amazonaws.com", _ACTIONS["lambda"], endpoint, topic_arn):
            logger.warning("%s not delivered to %s: %s", topic_arn, endpoint, denial)
            return
        original(endpoint, envelope, topic_arn, *rest)

    return to_function


def _bucket_to_function(original: Function) -> Function:
    def to_function(arn: str, event_payload: dict[str, Any], bucket_region: str) -> None:
        bucket_arn = event_payload["Records"][0]["s3"]["bucket"]["arn"]
        if denial := service_denial("s3.amazonaws.com", _ACTIONS["lambda"], arn, bucket_arn):
            logger.warning("%s not delivered to %s: %s", bucket_arn, arn, denial)
            return
        original(arn, event_payload, bucket_region)

    return to_function
