"""The OpenAPI description of a pipeline's predictions, derived from its contract: callers generate clients from it."""

from typing import Any

from ratchet.domain.data_contract import ColumnRule, DataSection
from ratchet.domain.predicting import MAX_RECORDS
from ratchet.domain.records import asked_columns, asked_for

_TYPES = {"timestamp": "string", "number": "number", "integer": "integer", "string": "string", "boolean": "boolean"}
_REFUSALS = {
    "400": "The body is no request, or records break the contract; `problems` name record, field and reason.",
    "403": "The request is not signed by somebody who may invoke the route.",
    "404": "There is no such pipeline.",
    "409": "No model serves the pipeline yet.",
    "413": "The request holds more records or bytes than one may.",
    "429": "Too many requests.",
    "502": "The model failed.",
    "503": "The endpoint is busy or on its way back; Retry-After says when to come again.",
}


def describe(pipeline: str, data: DataSection, url: str) -> dict[str, Any]:
    """An OpenAPI 3.1 document with the one operation."""
    refusal = {"$ref": "#/components/schemas/Refusal"}
    return {
        "openapi": "3.1.0",
        "info": {"title": f"Predictions of {pipeline}", "version": "1.0.0"},
        "servers": [{"url": url}],
        "security": [{"sigv4": []}],
        "paths": {
            f"/pipelines/{pipeline}/predictions": {
                "post": {
                    "operationId": "predict",
                    "requestBody": {"required": True, "content": _json({"$ref": "#/components/schemas/Request"})},
                    "responses": {
                        "200": {
                            "description": "One prediction for each record, in their order.",
                            "content": _json({"$ref": "#/components/schemas/Answer"}),
                        },
                        **{
                            status: {"description": said, "content": _json(refusal)}
                            for status, said in _REFUSALS.items()
                        },
                    },
                }
            }
        },
        "components": {
            "securitySchemes": {
                "sigv4": {
                    "type": "apiKey",
                    "name": "Authorization",
                    "in": "header",
                    "description": "AWS Signature Version 4, service execute-api",
                    "x-amazon-apigateway-authtype": "awsSigv4",
                }
            },
            "schemas": {
                "Request": {
                    "type": "object",
                    "required": ["records"],
                    "additionalProperties": False,
                    "properties": {
                        "records": {
                            "type": "array",
                            "minItems": 1,
                            "maxItems": MAX_RECORDS,
                            "items": {"$ref": "#/components/schemas/Record"},
                        }
                    },
                },
                "Record": record_schema(data),
                "Answer": _answer(data),
                "Refusal": {
                    "type": "object",
                    "required": ["message"],
                    "properties": {"message": {"type": "string"}, "error": {"type": "string"}},
                },
            },
        },
    }


def record_schema(data: DataSection) -> dict[str, Any]:
    """JSON Schema of one record. Patterns, formats and comparisons between columns go further than it says."""
    needed = asked_for(data)
    properties = {name: _value(rule, name in needed) for name, rule in asked_columns(data).items()}
    return {
        "type": "object",
        "required": list(needed),
        "additionalProperties": False,
        # A target may come along, and is ignored.
        "properties": {**properties, data.target: {"description": "ignored: it is what is asked for"}},
    }


def _value(rule: ColumnRule, needed: bool) -> dict[str, Any]:
    kind = _TYPES[rule.type]
    bounds = {
        "minimum": rule.min,
        "maximum": rule.max,
        "minLength": rule.min_length if rule.min_length is not None else 1 if needed and kind == "string" else None,
        "maxLength": rule.max_length,
        "pattern": f"^(?:{rule.pattern})$" if rule.pattern is not None else None,
    }
    schema: dict[str, Any] = {
        "type": kind if needed else [kind, "null"],
        **{name: bound for name, bound in bounds.items() if bound is not None},
    }
    if rule.allowed is not None:
        schema["enum"] = [*rule.allowed, *([] if needed else [None])]
    if rule.type == "timestamp":
        if rule.format is None:
            schema |= {"format": "date-time", "pattern": "^[12][0-9]{3}-"}
        schema["description"] = f"written as {rule.format}" if rule.format else "ISO 8601, in UTC without an offset"
    return schema


def _answer(data: DataSection) -> dict[str, Any]:
    value = "number" if data.task == "regression" else "string"
    prediction: dict[str, Any] = {
        "type": "object",
        "required": ["prediction"],
        "properties": {"prediction": {"type": value}},
    }
    if data.task == "classification":
        shares = {"type": "object", "additionalProperties": {"type": "number"}}
        prediction["properties"]["probabilities"] = shares
    return {
        "type": "object",
        "required": ["predictions", "model", "run"],
        "properties": {
            "predictions": {"type": "array", "items": prediction},
            "model": {"type": "string"},
            "run": {"type": "string"},
        },
    }


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
