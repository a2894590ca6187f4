from __future__ import annotations

import copy
import pickle

import pytest

from serve_app.core import errors
from serve_app.core.errors import DocumentError, EmbedError, InvalidRequest, RequestError, SetupError


def tree(root: type[EmbedError]) -> list[type[EmbedError]]:
    """The product's classes; a benchmark's or a test's own are no part of it."""
    children = [child for child in root.__subclasses__() if child.__module__ == errors.__name__]
    return [root, *(kind for child in children for kind in tree(child))]


def request_errors() -> list[type[RequestError]]:
    return [kind for kind in tree(EmbedError) if issubclass(kind, RequestError)]


EXPECTED = {  # class name → status, type, code
    "RequestError": (500, "server_error", "internal_error"),
    "InvalidRequest": (400, "invalid_request_error", "invalid_value"),
    "UnsupportedDimensions": (400, "invalid_request_error", "dimensions_unsupported"),
    "InputTooLong": (400, "invalid_request_error", "context_length_exceeded"),
    "TooManyInputs": (400, "invalid_request_error", "batch_too_large"),
    "Unauthorized": (401, "invalid_request_error", "invalid_api_key"),
    "Forbidden": (403, "invalid_request_error", "insufficient_scope"),
    "ModelNotFound": (404, "invalid_request_error", "model_not_found"),
    "RouteNotFound": (404, "invalid_request_error", "unknown_url"),
    "MethodNotAllowed": (405, "invalid_request_error", "method_not_allowed"),
    "BodyTooLarge": (413, "invalid_request_error", "body_too_large"),
    "UnsupportedBody": (415, "invalid_request_error", "unsupported_body"),
    "Overloaded": (429, "rate_limit_error", "overloaded"),
    "ClientGone": (499, "invalid_request_error", "client_closed_request"),
    "EngineFailed": (500, "server_error", "engine_failed"),
    "ReplicaUnavailable": (503, "server_error", "replica_unavailable"),
    "DeadlineExceeded": (504, "server_error", "deadline_exceeded"),
}


def test_every_request_error_has_the_status_type_and_code_that_clients_rely_on() -> None:
    assert {kind.__name__: (kind.status, kind.type, kind.code) for kind in request_errors()} == EXPECTED


def test_the_tree_in_the_module_docstring_names_every_class() -> None:
    assert errors.__doc__ is not None
    drawn = {word for line in errors.__doc__.splitlines() for word in line.replace("│", " ").split()}
    assert {kind.__name__ for kind in tree(EmbedError)} <= drawn


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", request_errors(), ids=lambda kind: kind.__name__)
def test_a_request_error_survives_pickling_between_processes(kind: type[RequestError], protocol: int) -> None:
    error = kind("What was wrong.", param="input", retry_after_s=1.5)
    arrived = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301
    assert (type(arrived), arrived.message, arrived.param, arrived.retry_after_s) == (
        kind,
        "What was wrong.",
        "input",
        1.5,
    )
    assert arrived.body() == error.body()


def test_the_other_errors_survive_pickling_too() -> None:
    setup = pickle.loads(pickle.dumps(SetupError("No model.")))  # noqa: S301
    document = pickle.loads(pickle.dumps(DocumentError("Page 3 is broken.", reason="corrupt")))  # noqa: S301
    assert (type(setup), setup.message) == (SetupError, "No model.")
    assert (type(document), document.message, document.reason) == (DocumentError, "Page 3 is broken.", "corrupt")


def test_a_copy_of_an_error_keeps_its_fields() -> None:
    twin = copy.copy(InvalidRequest("No.", param="model", retry_after_s=2.0))
    assert (twin.message, twin.param, twin.retry_after_s) == ("No.", "model", 2.0)


@pytest.mark.parametrize("kind", tree(EmbedError), ids=lambda kind: kind.__name__)
def test_no_class_level_default_hides_an_instance_field(kind: type[EmbedError]) -> None:
    # Ray hands out proxies that ask the class before the instance: a default there would win over the real value.
    fields = vars(kind("message")).keys()
    assert [field for field in fields if hasattr(kind, field)] == []


def test_the_body_is_what_openai_clients_expect() -> None:
    assert InvalidRequest("`model` must be a string.", param="model").body() == {
        "error": {
            "message": "`model` must be a string.",
            "type": "invalid_request_error",
            "param": "model",
            "code": "invalid_value",
        }
    }


@pytest.mark.parametrize("kind", request_errors(), ids=lambda kind: kind.__name__)
def test_a_message_is_enough_to_make_an_error(kind: type[RequestError]) -> None:
    error = kind("What was wrong.")
    assert (error.param, error.retry_after_s, str(error)) == (None, None, "What was wrong.")
