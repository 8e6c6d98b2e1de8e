"""The generic description of the scoring API that v1 makes for an undecorated run(). Pure."""

from __future__ import annotations

from typing import Any

VERSIONS = {"2": "2.0", "2.0": "2.0", "3": "3.0.3", "3.0": "3.0.3", "3.1": "3.1.0"}

_ANY: dict[str, Any] = {"type": "object", "example": {}}
_ERROR = {"type": "object", "properties": {"message": {"type": "string"}}}
_HEALTHY = "If service is up and running, this response will be returned with the content 'Healthy'"
_SCORED = "The service processed the input correctly and provided a result prediction, if applicable."
_FAILED = "The service failed to execute due to an error."
_BEARER = {"type": "apiKey", "name": "Authorization", "in": "header", "description": "For example: Bearer abc123"}


def describe(service: str, version: str, prefix: str, wanted: str) -> dict[str, Any] | None:
    """The document in the wanted version of the format, None when that version does not exist."""
    form = VERSIONS.get(wanted)
    if form is None:
        return None
    about = f"API specification for the Azure Machine Learning service {service}"
    info = {"title": service, "description": about, "version": version}
    return _version_2(info, prefix) if form == "2.0" else _version_3(info, prefix, form)


def _version_2(info: dict[str, str], prefix: str) -> dict[str, Any]:
    body = {"name": "serviceInputPayload", "in": "body", "schema": {"$ref": "#/definitions/ServiceInput"}}
    return {
        "swagger": "2.0",
        "info": info,
        "schemes": ["https"],
        "consumes": ["application/json"],
        "produces": ["application/json"],
        "securityDefinitions": {"Bearer": _BEARER},
        "paths": _paths(prefix, {"parameters": [body]}, lambda name: {"schema": _ref("#/definitions/", name)}),
        "definitions": {"ServiceInput": _ANY, "ServiceOutput": _ANY, "ErrorResponse": _ERROR},
    }


def _version_3(info: dict[str, str], prefix: str, form: str) -> dict[str, Any]:
    def content(name: str) -> dict[str, Any]:
        return {"content": {"application/json": {"schema": _ref("#/components/schemas/", name)}}}

    return {
        "openapi": form,
        "info": info,
        "paths": _paths(prefix, {"requestBody": content("ServiceInput")}, content),
        "components": {
            "schemas": {"ServiceInput": _ANY, "ServiceOutput": _ANY, "ErrorResponse": _ERROR},
            "securitySchemes": {"Bearer": _BEARER},
        },
    }


def _ref(base: str, name: str) -> dict[str, str]:
    return {"type": "string"} if name == "Text" else {"$ref": base + name}


def _paths(prefix: str, takes: dict[str, Any], gives: Any) -> dict[str, Any]:
    def operation(name: str, text: str, ok: str, answer: str) -> dict[str, Any]:
        responses = {
            "200": {"description": ok, **gives(answer)},
            "default": {"description": _FAILED, **gives("ErrorResponse")},
        }
        return {"operationId": name, "description": text, "responses": responses}

    up = "Simple health check endpoint to ensure the service is up at any given point."
    health = operation("ServiceHealthCheck", up, _HEALTHY, "Text")
    score = operation("RunMLService", "Run web service's model and get the prediction output", _SCORED, "ServiceOutput")
    spec = operation("GetSwaggerSpec", "Get the Swagger specification.", "The Swagger specification.", "Text")
    return {
        f"{prefix}/": {"get": health},
        f"{prefix}/score": {"post": {**score, "security": [{"Bearer": []}], **takes}},
        f"{prefix}/swagger.json": {"get": spec},
    }
