"""Application Auto Scaling: scalable targets and their policies are kept, and never acted upon."""

import copy
import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

from local.errors import ServiceError
from local.host import Scope
from local.validation import Api

Document = dict[str, Any]
Key = tuple[str, str, str]
_KEY = ("ServiceNamespace", "ResourceId", "ScalableDimension")
_DIMENSION = "sagemaker:variant:DesiredInstanceCount"
_LINKED_ROLE = (
    "arn:aws:iam::{account}:role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/"
    "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
)


class AutoScalingError(ServiceError):
    """An error answer of the Application Auto Scaling API."""


AUTOSCALING = Api("application-autoscaling", AutoScalingError)


class AutoScalingEngine:
    """Targets and policies by account and region; only variants of SageMaker endpoints can be scaled here.

    `has_variant` answers whether an endpoint has a variant of this name: what is not there cannot be registered.
    """

    def __init__(self, has_variant: Callable[[Scope, str, str], bool]) -> None:
        self._has_variant = has_variant
        self._lock = threading.Lock()
        self._targets: dict[Scope, dict[Key, Document]] = {}
        self._policies: dict[Scope, dict[tuple[Key, str], Document]] = {}
        self._actions = {
            "RegisterScalableTarget": self._register,
            "DeregisterScalableTarget": self._deregister,
            "DescribeScalableTargets": self._describe_targets,
            "PutScalingPolicy": self._put_policy,
            "DeleteScalingPolicy": self._delete_policy,
            "DescribeScalingPolicies": self._describe_policies,
        }

    def call(self, scope: Scope, action: str, request: Mapping[str, Any]) -> Document:
        """The answer to an API call; raises AutoScalingError."""
        if action not in self._actions:
            raise AutoScalingError("NotImplemented", f"The action {action} is not implemented here.", 501)
        valid = AUTOSCALING.validate(action, request)
        with self._lock:
            return copy.deepcopy(self._actions[action](scope, valid))

    @staticmethod
    def resource_arn(scope: Scope, request: Mapping[str, Any]) -> str:
        """The target that an IAM policy must name; `*` when the request names none."""
        if not all(isinstance(request.get(field), str) for field in _KEY):
            return "*"
        digest = hashlib.sha256("|".join(request[field] for field in _KEY).encode()).hexdigest()
        return scope.arn("application-autoscaling", f"scalable-target/{digest[:40]}")

    def dump(self) -> Document:
        """Everything, as JSON can hold it."""
        with self._lock:
            return copy.deepcopy({"targets": _rows(self._targets), "policies": _rows(self._policies)})

    def load(self, state: Mapping[str, Any]) -> None:
        """Replaces everything by what `dump` gave."""
        with self._lock:
            self._targets, self._policies = {}, {}
            for account, region, target in copy.deepcopy(state["targets"]):
                self._targets.setdefault(Scope(account, region), {})[_key(target)] = target
            for account, region, policy in copy.deepcopy(state["policies"]):
                named = self._policies.setdefault(Scope(account, region), {})
                named[_key(policy), policy["PolicyName"]] = policy

    def reset(self) -> None:
        """Forgets everything."""
        self.load({"targets": [], "policies": []})

    def _register(self, scope: Scope, request: Document) -> Document:
        key = _key(request)
        targets = self._targets.setdefault(scope, {})
        known = targets.get(key)
        if known is None:
            self._require_variant(scope, request)
            if not {"MinCapacity", "MaxCapacity"} <= request.keys():
                raise _invalid("MinCapacity and MaxCapacity are required when a scalable target is registered.")
        arn = self.resource_arn(scope, request)
        role = _LINKED_ROLE.format(account=scope.account)
        created = {"CreationTime": time.time(), "RoleARN": role, "ScalableTargetARN": arn}
        target = {**created, **(known or {}), **{name: value for name, value in request.items() if name != "Tags"}}
        if target["MinCapacity"] > target["MaxCapacity"]:
            raise _invalid("Maximum capacity cannot be less than minimum capacity")
        targets[key] = target
        return {"ScalableTargetARN": arn}

    def _deregister(self, scope: Scope, request: Document) -> Document:
        key = _key(request)
        self._require_target(scope, request)
        del self._targets[scope][key]
        policies = self._policies.get(scope, {})
        self._policies[scope] = {named: policy for named, policy in policies.items() if named[0] != key}
        return {}

    def _describe_targets(self, scope: Scope, request: Document) -> Document:
        wanted = request.get("ResourceIds", [])
        found = _matching(self._targets.get(scope, {}), request)
        return {"ScalableTargets": [target for target in found if not wanted or target["ResourceId"] in wanted]}

    def _put_policy(self, scope: Scope, request: Document) -> Document:
        self._require_target(scope, request)
        policies = self._policies.setdefault(scope, {})
        named = _key(request), request["PolicyName"]
        if named not in policies and "PolicyType" not in request:
            request = {**request, "PolicyType": "StepScaling"}
        suffix = f"{uuid4()}:resource/{request['ServiceNamespace']}/{request['ResourceId']}"
        arn = scope.arn("autoscaling", f"scalingPolicy:{suffix}:policyName/{request['PolicyName']}")
        created = {"PolicyARN": arn, "CreationTime": time.time(), "Alarms": []}
        policies[named] = {**created, **policies.get(named, {}), **request}
        return {"PolicyARN": policies[named]["PolicyARN"], "Alarms": []}

    def _delete_policy(self, scope: Scope, request: Document) -> Document:
        named = _key(request), request["PolicyName"]
        if named not in self._policies.get(scope, {}):
            raise _absent("scaling policy", request)
        del self._policies[scope][named]
        return {}

    def _describe_policies(self, scope: Scope, request: Document) -> Document:
        names = request.get("PolicyNames", [])
        found = _matching(self._policies.get(scope, {}), request)
        return {"ScalingPolicies": [policy for policy in found if not names or policy["PolicyName"] in names]}

    def _require_variant(self, scope: Scope, request: Document) -> None:
        parts = request["ResourceId"].split("/")
        if (
            request["ScalableDimension"] != _DIMENSION
            or len(parts) != len(("endpoint", "name", "variant", "name"))
            or (parts[0], parts[2]) != ("endpoint", "variant")
        ):
            raise _invalid(
                f"Only {_DIMENSION} of endpoint/<name>/variant/<name> can be scaled here, not "
                f"{request['ScalableDimension']} of {request['ResourceId']}."
            )
        if not self._has_variant(scope, parts[1], parts[3]):
            raise _invalid(f"Endpoint {parts[1]} does not exist or has no variant {parts[3]}.")

    def _require_target(self, scope: Scope, request: Document) -> None:
        if _key(request) not in self._targets.get(scope, {}):
            raise _absent("scalable target", request)


def _key(request: Mapping[str, Any]) -> Key:
    return request["ServiceNamespace"], request["ResourceId"], request["ScalableDimension"]


def _rows(stored: Mapping[Scope, Mapping[Any, Document]]) -> list[list[Any]]:
    return [[scope.account, scope.region, record] for scope, records in stored.items() for record in records.values()]


def _matching(records: Mapping[Any, Document], request: Document) -> list[Document]:
    given = {field: request[field] for field in _KEY if field in request}
    return [record for record in records.values() if given.items() <= record.items()]


def _invalid(message: str) -> AutoScalingError:
    return AutoScalingError("ValidationException", message)


def _absent(what: str, request: Document) -> AutoScalingError:
    named = f" named {request['PolicyName']}" if what == "scaling policy" else ""
    return AutoScalingError(
        "ObjectNotFoundException",
        f"No {what}{named} found for service namespace: {request['ServiceNamespace']}, "
        f"resource ID: {request['ResourceId']}, scalable dimension: {request['ScalableDimension']}",
    )
