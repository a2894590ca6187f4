"""The OpenAPI document behind /docs, made from the wire models: the routes are plain ASGI, so it is told here."""

from __future__ import annotations

from typing import Any

from serve_app.core.errors import RequestError
from serve_app.schemas import EmbeddingRequest

Document = dict[str, Any]
ERROR_STATUSES: dict[str, tuple[int, ...]] = {
    "/v1/embeddings": (400, 404, 413, 415, 429, 500, 503, 504),
    "/v1/models": (),
    "/v1/models/{model}": (404,),
    "/health": (),
    "/ready": (503,),
}


def openapi_document(title: str, version: str) -> Document:
    """OpenAPI 3.1 of the whole HTTP surface."""
    schema = EmbeddingRequest.model_json_schema(ref_template="#/components/schemas/{model}")
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": {
            "/v1/embeddings": {"post": _embeddings()},
            "/v1/models": {"get": _get("/v1/models", "The served models, with what a client needs to know of each")},
            "/v1/models/{model}": {"get": _model()},
            "/health": {"get": _get("/health", "This Router runs")},
            "/ready": {"get": _get("/ready", "Every model answers from at least one replica")},
        },
        "components": {"schemas": {"EmbeddingRequest": schema, "EmbeddingResponse": _RESPONSE, "Error": _ERROR}},
    }


def _embeddings() -> Document:
    operation = _get("/v1/embeddings", "Embed texts", schema="EmbeddingResponse")
    operation["requestBody"] = {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/EmbeddingRequest"}}},
    }
    return operation


def _model() -> Document:
    operation = _get("/v1/models/{model}", "One served model")
    operation["parameters"] = [{"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}]
    return operation


def _get(path: str, summary: str, schema: str | None = None) -> Document:
    answer = {"$ref": f"#/components/schemas/{schema}"} if schema else {"type": "object"}
    responses = {"200": {"description": "OK", "content": {"application/json": {"schema": answer}}}}
    names = {kind.status: kind.__name__ for kind in _kinds(RequestError)}
    for status in ERROR_STATUSES[path]:
        content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
        responses[str(status)] = {"description": names[status], "content": content}
    return {"summary": summary, "responses": responses}


def _kinds(kind: type[RequestError]) -> list[type[RequestError]]:
    """The error classes, the general before the special last, so that a status is named by its general class."""
    special = [leaf for child in kind.__subclasses__() for leaf in _kinds(child)]
    return [*special, kind]


_RESPONSE: Document = {
    "type": "object",
    "required": ["object", "data", "model", "usage"],
    "properties": {
        "object": {"const": "list"},
        "data": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["object", "index", "embedding"],
                "properties": {
                    "object": {"const": "embedding"},
                    "index": {"type": "integer"},
                    "embedding": {
                        "description": "Floats, or base64 of little-endian float32.",
                        "anyOf": [{"type": "array", "items": {"type": "number"}}, {"type": "string"}],
                    },
                },
            },
        },
        "model": {"type": "string"},
        "usage": {
            "type": "object",
            "properties": {"prompt_tokens": {"type": "integer"}, "total_tokens": {"type": "integer"}},
        },
    },
}
_ERROR: Document = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
            },
        }
    },
}
