"""T2, T4: a state machine acts as its role: trust, permission for each action, and iam:PassRole are checked.

Errors carry the names that the AWS SDKs behind Step Functions give them: an optimized integration uses the base
exception of the SDK for Java 1 (`Lambda.AWSLambdaException`), `aws-sdk:` that of SDK 2 (`S3.S3Exception`), unless the
service models AccessDeniedException itself (`Glue.AccessDeniedException`).
"""

import json
import re
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple

from botocore.loaders import Loader
from ministack import app
from ministack.core import iam_actions
from ministack.core.responses import error_response_json, get_account_id, get_region, new_uuid
from ministack.services import stepfunctions
from ministack.services.cloudformation import provisioners

from local.cloud.repairs.authority import Session, parameters, trusts
from local.cloud.repairs.patching import Function, expect, replace
from local.cloud.repairs.role_passing import passed_roles, passed_to, takes_roles

_STATES = "states.amazonaws.com"
_session: ContextVar[Session | None] = ContextVar("state_machine_session", default=None)
_sdk_task: ContextVar[str] = ContextVar("aws_sdk_task", default="")
_TARGETS = {"dynamodb": "DynamoDB_20120810", "sagemaker": "SageMaker", "glue": "AWSGlue"}
_SDK_1_BASE = {
    "lambda": "Lambda.AWSLambdaException",
    "dynamodb": "DynamoDB.AmazonDynamoDBException",
    "sqs": "SQS.AmazonSQSException",
    "sns": "SNS.AuthorizationErrorException",
    "events": "EventBridge.AmazonEventBridgeException",
    "states": "StepFunctions.AWSStepFunctionsException",
    "sagemaker": "SageMaker.AmazonSageMakerException",
    "glue": "Glue.AccessDeniedException",
}
_BOTOCORE_NAMES = {"sfn": "stepfunctions", "eventbridge": "events", "cloudwatchlogs": "logs", "rdsdata": "rds-data"}
# A .sync integration is told of its job's end by a rule that Step Functions manages with the role's rights.
_MANAGED_RULES = {
    "sagemaker:createTrainingJob": "StepFunctionsGetEventsForSageMakerTrainingJobsRule",
    "sagemaker:createTransformJob": "StepFunctionsGetEventsForSageMakerTransformJobsRule",
    "sagemaker:createProcessingJob": "StepFunctionsGetEventsForSageMakerProcessingJobsRule",
    "sagemaker:createHyperParameterTuningJob": "StepFunctionsGetEventsForSageMakerTuningJobsRule",
    "states:startExecution": "StepFunctionsGetEventsForStepFunctionsExecutionRule",
}
# What Step Functions calls besides, on the same resource; SageMaker jobs it waits for it tags as its own.
_SYNC_ALSO = {
    "sagemaker:createTrainingJob": ("sagemaker:DescribeTrainingJob", "sagemaker:AddTags"),
    "sagemaker:createTransformJob": ("sagemaker:DescribeTransformJob", "sagemaker:AddTags"),
    "sagemaker:createProcessingJob": ("sagemaker:DescribeProcessingJob", "sagemaker:AddTags"),
    "glue:startJobRun": ("glue:GetJobRun",),
}
_OPTIMIZED = re.compile(r"arn:aws:states:::(?!aws-sdk:)(\w+):(\w+)")


@dataclass(frozen=True)
class _Demand:
    """One thing a task does: the action and the resource that the role's policies must allow."""

    action: str
    resource: str
    passed_to: str = ""


class Request(NamedTuple):
    """A request as MiniStack's services take it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes | str | None
    query_params: dict[str, Any]


def apply() -> None:
    """Checks the role when a machine is made or changed and before each task acts."""
    replace(stepfunctions, "_create_state_machine", "(data)", _refuse_create, ("validate_role_arn",))
    replace(stepfunctions, "_update_state_machine", "(data)", _refuse_update)
    replace(provisioners, "_sfn_state_machine_create", "(logical_id, props, stack_name)", _refuse_resource)
    machines = provisioners._RESOURCE_HANDLERS["AWS::StepFunctions::StateMachine"]
    machines["create"] = provisioners._sfn_state_machine_create
    replace(stepfunctions, "_run_execution", "(exec_arn)", _run_as_role)
    replace(stepfunctions, "_invoke_resource", "(resource, input_data)", _check_task)
    replace(stepfunctions, "_invoke_aws_sdk_integration", "(resource, input_data)", _mark_sdk_task)
    replace(
        app,
        "call_service_handler_sync",
        "(handler, method, path, headers, body, query_params, timeout: float | None = None)",
        _check_sdk_call,
    )
    expect(
        iam_actions,
        "extract_iam_action",
        "(service: str, method: str, path: str, headers: dict, body: bytes, query_params: dict) -> str | None",
    )


def acting_role() -> str:
    """The name of the role that the execution of this thread acts as; empty outside of executions."""
    session = _session.get()
    return session.role_arn.rsplit("/", 1)[-1] if session else ""


def sdk_task() -> str:
    """The service that an `aws-sdk:` task of this thread is about to call; empty outside of such tasks."""
    return _sdk_task.get()


def task_operation(resource: str) -> tuple[str, str] | None:
    """Service and operation of an optimized integration, such as lambda and Invoke; None for any other resource."""
    match = _OPTIMIZED.match(resource)
    return (match[1], f"{match[2][0].upper()}{match[2][1:]}") if match and match[1] in _SDK_1_BASE else None


def iam_action(service: str, operation: str) -> str:
    """The action that allows the operation."""
    return "lambda:InvokeFunction" if (service, operation) == ("lambda", "Invoke") else f"{service}:{operation}"


def base_error(service: str) -> str:
    """What a task of an optimized integration fails with when the service has no exception of its own for it."""
    return "Glue.AWSGlueException" if service == "glue" else _SDK_1_BASE[service]


# -- when a machine is made ---------------------------------------------------------------------------------------


def _refuse_create(original: Function) -> Function:
    def create(data: dict[str, Any]) -> Any:
        name = data.get("name", "")
        return _refused(data.get("roleArn", ""), data.get("definition"), _machine_arn(name)) or original(data)

    return create


def _refuse_update(original: Function) -> Function:
    def update(data: dict[str, Any]) -> Any:
        arn = data.get("stateMachineArn", "")
        machine = stepfunctions._state_machines.get(arn) or {}
        merged = {**machine, **data}
        refusal = _refused(merged["roleArn"], merged["definition"], arn) if machine else None
        return refusal or original(data)

    return update


def _refuse_resource(original: Function) -> Function:
    def create(logical_id: str, props: dict[str, Any], stack_name: str) -> Any:
        reason = _role_problem(props.get("RoleArn", ""), provisioners._sfn_definition(props), _machine_arn("*"))
        if reason:
            raise ValueError(reason)
        return original(logical_id, props, stack_name)

    return create


def _machine_arn(name: str) -> str:
    return f"arn:aws:states:{get_region()}:{get_account_id()}:stateMachine:{name}"


def _refused(role_arn: str, definition: Any, machine_arn: str) -> Any:
    reason = _role_problem(role_arn, definition, machine_arn)
    return error_response_json("AccessDeniedException", reason, 400) if reason else None


def _role_problem(role_arn: str, definition: Any, machine_arn: str) -> str | None:
    if not trusts(role_arn, _STATES, machine_arn):
        return (
            f"Neither the global service principal {_STATES}, nor the regional one is authorized to assume the "
            "provided role."
        )
    session = Session(role_arn, "create")
    for resource in _task_resources(_document(definition)):
        match = _OPTIMIZED.match(resource)
        rule = _MANAGED_RULES.get(":".join(match.groups())) if match and ".sync" in resource else None
        rule_arn = f"arn:aws:events:{get_region()}:{get_account_id()}:rule/{rule}"
        actions = ("events:PutTargets", "events:PutRule", "events:DescribeRule") if rule else ()
        if any(session.denial(action, rule_arn) for action in actions):
            return f"'{role_arn}' is not authorized to create managed-rule."
    return None


def _document(definition: Any) -> Any:
    try:
        return json.loads(definition)
    except (TypeError, ValueError):  # refused as a definition in a moment
        return None


def _task_resources(document: Any) -> Iterator[str]:
    if isinstance(document, dict):
        if document.get("Type") == "Task" and isinstance(document.get("Resource"), str):
            yield document["Resource"]
        for value in document.values():
            yield from _task_resources(value)
    elif isinstance(document, list):
        for value in document:
            yield from _task_resources(value)


# -- while it runs ------------------------------------------------------------------------------------------------


def _run_as_role(original: Function) -> Function:
    def run(exec_arn: str) -> None:
        execution = stepfunctions._executions.get(exec_arn) or {}
        machine = stepfunctions._state_machines.get(execution.get("stateMachineArn", "")) or {}
        role_arn = machine.get("roleArn", "")
        if machine and not trusts(role_arn, _STATES, machine["stateMachineArn"]):
            cause = f"{_STATES} is not authorized to assume the role {role_arn}."
            stepfunctions._fail_execution(execution, "States.Runtime", cause)
            return
        token = _session.set(Session(role_arn, new_uuid().replace("-", "")))
        try:
            original(exec_arn)
        finally:
            _session.reset(token)  # a nested execution runs on its parent's thread

    return run


def _check_task(original: Function) -> Function:
    def invoke(resource: str, input_data: Any) -> Any:
        session = _session.get()
        if session is not None:
            for demand in _demands(resource, parameters(input_data)):
                if denial := _denied(session, demand):
                    raise stepfunctions._ExecutionError(_SDK_1_BASE[_service(resource)], denial)
        return original(resource, input_data)

    return invoke


def _service(resource: str) -> str:
    match = _OPTIMIZED.match(resource)
    return match[1] if match else "lambda"


def _demands(resource: str, data: dict[str, Any]) -> Iterator[_Demand]:
    """What an optimized integration asks of the role; `aws-sdk:` tasks are checked when they call their service."""
    match = _OPTIMIZED.match(resource)
    if not match:
        if ":function:" in resource:
            yield _Demand("lambda:InvokeFunction", resource)
        return
    service, operation = match.groups()
    if (known := task_operation(resource)) is None:
        return  # MiniStack refuses what it does not know
    action = iam_action(*known)
    also = _SYNC_ALSO.get(f"{service}:{operation}", ()) if ".sync" in resource else ()
    if service == "sagemaker" and data.get("Tags"):
        also = (*also, "sagemaker:AddTags")
    for arn in _resources(service, action, data):
        yield from (_Demand(needed, arn) for needed in (action, *also))
    yield from _passed_roles(action, data)


def _passed_roles(action: str, data: dict[str, Any]) -> Iterator[_Demand]:
    for role in passed_roles(action, data) if takes_roles(action) else ():
        yield _Demand("iam:PassRole", role, passed_to(action))


def _resources(service: str, action: str, data: dict[str, Any]) -> list[str]:
    scope = f"{get_region()}:{get_account_id()}"
    one: dict[str, Callable[[], str]] = {
        "lambda": lambda: _function_arn(data.get("FunctionName", "")),
        "sns": lambda: data.get("TopicArn") or data.get("TargetArn") or "*",
        "sqs": lambda: f"arn:aws:sqs:{scope}:{data.get('QueueUrl', '').rsplit('/', 1)[-1]}",
        "states": lambda: data.get("StateMachineArn", "*"),
    }
    if service in one:
        return [one[service]()]
    if service == "events":
        names = {entry.get("EventBusName") or "default" for entry in data.get("Entries", [])}
        return [
            name if name.startswith("arn:") else f"arn:aws:events:{scope}:event-bus/{name}" for name in sorted(names)
        ]
    target = f"{_TARGETS[service]}.{action.partition(':')[2]}"
    body = json.dumps(data).encode()
    return [
        iam_actions.extract_resource_arn(
            service, "POST", "/", {"x-amz-target": target}, body, {}, get_region(), get_account_id()
        )
    ]


def _function_arn(reference: str) -> str:
    if reference.startswith("arn:"):
        return reference
    return f"arn:aws:lambda:{get_region()}:{get_account_id()}:function:{reference.rsplit(':function:', maxsplit=1)[-1]}"


def _mark_sdk_task(original: Function) -> Function:
    def invoke(resource: str, input_data: Any) -> Any:
        token = _sdk_task.set(resource.split(":", 7)[6].lower() if _session.get() else "")
        try:
            return original(resource, input_data)
        finally:
            _sdk_task.reset(token)

    return invoke


def _check_sdk_call(original: Function) -> Function:
    def call(handler: Any, *request: Any, **options: Any) -> Any:
        service, session = _sdk_task.get(), _session.get()
        if service and session is not None:
            _sdk_task.set("")  # what the called service itself calls is not the role's doing
            _check_request(session, service, Request(*request[:5]))
        return original(handler, *request, **options)

    return call


def _check_request(session: Session, sdk_service: str, request: Request) -> None:
    info = stepfunctions._AWS_SDK_SERVICE_MAP[sdk_service]
    service = info.get("service_key", sdk_service)
    content = request.body.encode() if isinstance(request.body, str) else request.body or b""
    parts = (service, request.method, request.path, request.headers, content, request.query_params)
    action = iam_actions.extract_iam_action(*parts)
    if action is None:
        cause = f"No IAM action is known for {service} {request.method} {request.path}."
        raise stepfunctions._ExecutionError("States.Runtime", cause)
    demands = [_Demand(action, iam_actions.extract_resource_arn(*parts, get_region(), get_account_id()))]
    if takes_roles(action):
        demands += _passed_roles(action, parameters(content))
    for demand in demands:
        if denial := _denied(session, demand, service):
            raise stepfunctions._ExecutionError(_sdk_2_error(sdk_service), denial)


def _sdk_2_error(sdk_service: str) -> str:
    prefix = stepfunctions._AWS_SDK_ERROR_PREFIX.get(sdk_service, sdk_service.capitalize())
    model = Loader().load_service_model(_BOTOCORE_NAMES.get(sdk_service, sdk_service), "service-2")
    return (
        f"{prefix}.AccessDeniedException"
        if "AccessDeniedException" in model["shapes"]
        else f"{prefix}.{prefix}Exception"
    )


def _denied(session: Session, demand: _Demand, service: str = "") -> str | None:
    context = {"iam:passedtoservice": demand.passed_to} if demand.passed_to else {}
    return session.denial(demand.action, demand.resource, service, context)
