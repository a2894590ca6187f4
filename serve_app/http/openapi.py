"""The OpenAPI document, made from the wire models: the routes are plain ASGI, so it is told here."""

from __future__ import annotations

from typing import Any

from serve_app.core.errors import ModelNotFound, RequestError
from serve_app.http.schemas import EmbeddingRequest, TextRequest, TokenizeRequest

Document = dict[str, Any]
Operation = dict[str, Any]
ASKED = (400, 401, 403, 404, 413, 415)  # what a request about texts can be refused for


def openapi_document(title: str, version: str) -> Document:
    """OpenAPI 3.1 of the whole HTTP surface."""
    bodies = {kind.__name__: _schema(kind) for kind in (EmbeddingRequest, TokenizeRequest)}
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": _paths(),
        "components": {
            "schemas": {**bodies, **_ANSWERS},
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "Only where keys are configured."}
            },
        },
    }


def _paths() -> Document:
    refused = (401, 403)
    return {
        "/v1/embeddings": {
            "post": _operation(
                "Embed texts", "EmbeddingResponse", (*ASKED, 429, 500, 503, 504), body="EmbeddingRequest"
            )
        },
        "/v1/tokenize": {"post": _operation("Token ids of texts", "TokenizeResponse", ASKED, body="TokenizeRequest")},
        "/v1/models": {"get": _operation("What is served", "ModelList", refused)},
        "/v1/models/{model}": {
            "get": _operation("One served model, with its fingerprint", "Model", (*refused, 404, 503))
            | {"parameters": [{"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}]}
        },
        "/metrics": {"get": _operation("Metrics of every process, for Prometheus", None, refused)},
        "/health": {"get": _operation("This Router runs", "State", (), is_public=True)},
        "/ready": {"get": _operation("Every model answers from a replica", "State", (503,), is_public=True)},
    }


def _operation(
    summary: str, answer: str | None, errors: tuple[int, ...], body: str | None = None, is_public: bool = False
) -> Operation:
    content = {"application/json": _ref(answer)} if answer else {"text/plain": {"schema": {"type": "string"}}}
    names = {kind.status: kind.__name__ for kind in _kinds(RequestError)}
    names[404] = ModelNotFound.__name__  # what is told here is an address that there is
    responses: Document = {"200": {"description": "OK", "content": content}}
    for status in errors:
        responses[str(status)] = {"description": names[status], "content": {"application/json": _ref("Error")}}
        if status in (429, 503):
            responses[str(status)]["headers"] = {"Retry-After": {"description": "seconds", "schema": _COUNT}}
    operation: Operation = {
        "summary": summary,
        "responses": responses,
        "security": [] if is_public else [{}, {"key": []}],
    }
    if body:
        operation["requestBody"] = {"required": True, "content": {"application/json": _ref(body)}}
    return operation


def _ref(name: str) -> Document:
    return {"schema": {"$ref": f"#/components/schemas/{name}"}}


def _schema(kind: type[TextRequest]) -> Document:
    return kind.model_json_schema(ref_template="#/components/schemas/{model}")


def _kinds(kind: type[RequestError]) -> list[type[RequestError]]:
    """The error classes, the general before the special last, so that a status is named by its general class."""
    special = [leaf for child in kind.__subclasses__() for leaf in _kinds(child)]
    return [*special, kind]


def _object(**properties: Document) -> Document:
    return {"type": "object", "required": list(properties), "properties": properties}


def _list_of(item: Document) -> Document:
    return {"type": "array", "items": item}


_TEXT, _COUNT = {"type": "string"}, {"type": "integer"}
_TEXT_OR_NULL: Document = {"type": ["string", "null"]}
_VECTOR = {
    "description": "Floats, or base64 of little-endian float32 or float16.",
    "anyOf": [_list_of({"type": "number"}), _TEXT],
}
_MODEL = _object(
    id=_TEXT,
    object={"const": "model"},
    created=_COUNT,
    owned_by=_TEXT,
    aliases=_list_of(_TEXT),
    native_dimensions=_COUNT,
    min_dimensions=_COUNT,
    max_tokens=_COUNT,
    pooling=_TEXT,
    dtype=_TEXT,
    default_instruction=_TEXT_OR_NULL,
    presets=_list_of(_TEXT),
    fingerprint=_TEXT_OR_NULL,
)
_ANSWERS: Document = {
    "EmbeddingResponse": _object(
        object={"const": "list"},
        data=_list_of(_object(object={"const": "embedding"}, index=_COUNT, embedding=_VECTOR)),
        model=_TEXT,
        usage=_object(prompt_tokens=_COUNT, total_tokens=_COUNT),
    ),
    "TokenizeResponse": _object(
        object={"const": "list"},
        model=_TEXT,
        max_tokens=_COUNT,
        total_tokens=_COUNT,
        data=_list_of(_object(object={"const": "tokens"}, index=_COUNT, count=_COUNT, tokens=_list_of(_COUNT))),
    ),
    "Model": _MODEL,
    "ModelList": _object(object={"const": "list"}, data=_list_of(_MODEL)),
    "State": {"type": "object", "required": ["status"], "properties": {"status": _TEXT, "models": _list_of(_TEXT)}},
    "Error": _object(error=_object(message=_TEXT, type=_TEXT, param=_TEXT_OR_NULL, code=_TEXT)),
}
