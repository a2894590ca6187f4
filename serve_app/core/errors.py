"""Every error the product raises on purpose.

    EmbedError
    ├── RequestError                 has an HTTP status, an OpenAI `type` and a `code`
    │   ├── InvalidRequest           400  a field is wrong; `param` names it
    │   │   ├── UnsupportedDimensions
    │   │   ├── InputTooLong
    │   │   └── TooManyInputs
    │   ├── Unauthorized             401  no key, or not a valid one
    │   ├── Forbidden                403  a valid key without the scope this needs
    │   ├── ModelNotFound            404
    │   ├── RouteNotFound            404
    │   ├── MethodNotAllowed         405
    │   ├── BodyTooLarge             413
    │   ├── UnsupportedBody          415
    │   ├── Overloaded               429  carries `retry_after_s`
    │   ├── ClientGone               499  nobody reads the answer
    │   ├── EngineFailed             500
    │   ├── ReplicaUnavailable       503  carries `retry_after_s`
    │   └── DeadlineExceeded         504
    ├── SetupError                   the product cannot start or go on: a wrong config, a missing model, a port in use
    └── DocumentError                one document cannot be ingested; the others go on

A message says what was wrong, the limit, and the fix, and never repeats the caller's text. Fields beside the
message are plain attributes, never required arguments: that is what survives pickling between Ray processes.
"""

from __future__ import annotations

from typing import ClassVar


class EmbedError(Exception):
    """Root of the tree."""

    def __init__(self, message: str) -> None:
        super().__init__(message)

    @property
    def message(self) -> str:
        return str(self.args[0])


class RequestError(EmbedError):
    """A request that gets no vectors, with everything its HTTP answer needs."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str, param: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.retry_after_s = retry_after_s

    def body(self) -> dict[str, dict[str, str | None]]:
        """The error as OpenAI's clients expect it."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


class InvalidRequest(RequestError):
    status, type, code = 400, "invalid_request_error", "invalid_value"


class UnsupportedDimensions(InvalidRequest):
    code = "dimensions_unsupported"


class InputTooLong(InvalidRequest):
    code = "context_length_exceeded"


class TooManyInputs(InvalidRequest):
    code = "batch_too_large"


class Unauthorized(RequestError):
    status, type, code = 401, "invalid_request_error", "invalid_api_key"


class Forbidden(RequestError):
    status, type, code = 403, "invalid_request_error", "insufficient_scope"


class ModelNotFound(RequestError):
    status, type, code = 404, "invalid_request_error", "model_not_found"


class RouteNotFound(RequestError):
    status, type, code = 404, "invalid_request_error", "unknown_url"


class MethodNotAllowed(RequestError):
    status, type, code = 405, "invalid_request_error", "method_not_allowed"


class BodyTooLarge(RequestError):
    status, type, code = 413, "invalid_request_error", "body_too_large"


class UnsupportedBody(RequestError):
    status, type, code = 415, "invalid_request_error", "unsupported_body"


class Overloaded(RequestError):
    status, type, code = 429, "rate_limit_error", "overloaded"


class ClientGone(RequestError):
    status, type, code = 499, "invalid_request_error", "client_closed_request"


class EngineFailed(RequestError):
    status, type, code = 500, "server_error", "engine_failed"


class ReplicaUnavailable(RequestError):
    status, type, code = 503, "server_error", "replica_unavailable"


class DeadlineExceeded(RequestError):
    status, type, code = 504, "server_error", "deadline_exceeded"


class SetupError(EmbedError):
    """Shown to a person as one sentence, never as a traceback."""


class DocumentError(EmbedError):
    """Why one document was left out; `reason` is a short fixed word for counting, the message is for people."""

    def __init__(self, message: str, reason: str = "unreadable") -> None:
        super().__init__(message)
        self.reason = reason
