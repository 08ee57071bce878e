"""T29: an HTTP API made of an OpenAPI body (SAM makes them so) has its routes, at an address that resolves.

MiniStack's stacks drop the property `Body`, so that such an API answers every request with 404, and its endpoint is a
name below `localhost`, which few resolvers know.
"""

import os
from collections.abc import Iterator
from typing import Any

from ministack.core.responses import new_uuid
from ministack.services import apigateway
from ministack.services.cloudformation import provisioners

from local.cloud.repairs.patching import Function, expect, replace

Properties = dict[str, Any]
_KIND = "AWS::ApiGatewayV2::Api"
_CREATE = "(logical_id, props, stack_name)"
_UPDATE = "(physical_id, old_props, new_props, stack_name, logical_id=None)"
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "x-amazon-apigateway-any-method")


def apply() -> None:
    """Imports the body after an API was created or updated."""
    for kind in ("route", "integration"):
        expect(provisioners, f"_apigw_v2_{kind}_props", "(props)")
    replace(provisioners, "_apigw_v2_api_create", _CREATE, _created, ('"apiEndpoint"',))
    replace(provisioners, "_apigw_v2_api_update", _UPDATE, _updated)
    handlers = provisioners._RESOURCE_HANDLERS[_KIND]
    handlers["create"], handlers["update"] = provisioners._apigw_v2_api_create, provisioners._apigw_v2_api_update


def _created(original: Function) -> Function:
    def create(logical_id: str, props: Properties, stack_name: str) -> Any:
        api_id, attributes = original(logical_id, props, stack_name)
        endpoint = f"http://127.0.0.1:{os.environ['GATEWAY_PORT']}/_aws/execute-api/{api_id}"
        apigateway._apis[api_id]["apiEndpoint"] = endpoint
        _import(api_id, props.get("Body"))
        return api_id, {**attributes, "ApiEndpoint": endpoint}

    return create


def _updated(original: Function) -> Function:
    def update(
        physical_id: str, old_props: Properties, new_props: Properties, stack_name: str, logical_id: Any = None
    ) -> Any:
        api_id, attributes = original(physical_id, old_props, new_props, stack_name, logical_id)
        _import(api_id, new_props.get("Body"))
        return api_id, attributes

    return update


def _import(api_id: str, body: Properties | None) -> None:
    """Puts the body's routes in place of those the API has; an API without a body keeps its own resources."""
    if not body:
        return
    routes: Properties = {}
    integrations: Properties = {}
    for key, operation in _operations(body):
        route_id, integration_id = new_uuid()[:8], new_uuid()[:8]
        integrations[integration_id] = {
            "integrationId": integration_id,
            **provisioners._apigw_v2_integration_props(_integration(operation)),
        }
        written = {
            "RouteKey": key,
            "Target": f"integrations/{integration_id}",
            "AuthorizationType": "AWS_IAM" if _wants_iam(body, operation) else "NONE",
        }
        routes[route_id] = {"routeId": route_id, **provisioners._apigw_v2_route_props(written)}
    apigateway._routes[api_id], apigateway._integrations[api_id] = routes, integrations


def _operations(body: Properties) -> Iterator[tuple[str, Properties]]:
    for path, item in (body.get("paths") or {}).items():
        for method in _METHODS:
            if method in item:
                verb = "ANY" if method.startswith("x-") else method.upper()
                yield ("$default" if path == "/$default" else f"{verb} {path}"), item[method]


def _integration(operation: Properties) -> Properties:
    written = operation.get("x-amazon-apigateway-integration")
    if not written or str(written.get("type", "")).lower() != "aws_proxy":
        raise ValueError(f"{_KIND}: the embedded cloud imports only operations with an aws_proxy integration")
    return {
        "IntegrationType": "AWS_PROXY",
        "IntegrationUri": written["uri"],
        "PayloadFormatVersion": str(written.get("payloadFormatVersion", "1.0")),
        "TimeoutInMillis": int(written.get("timeoutInMillis", 30000)),
    }


def _wants_iam(body: Properties, operation: Properties) -> bool:
    """Whether the operation's security is SigV4; ValueError for another kind, which is not imported."""
    schemes = (body.get("components") or {}).get("securitySchemes") or {}
    security: list[Properties] = operation.get("security") or body.get("security") or []
    wanted = {name for choice in security for name in choice}
    kinds = {str(schemes.get(name, {}).get("x-amazon-apigateway-authtype", "")).lower() for name in wanted}
    if kinds - {"awssigv4"}:
        raise ValueError(f"{_KIND}: the embedded cloud imports no authorizer but AWS_IAM, not {sorted(wanted)}")
    return bool(kinds)
