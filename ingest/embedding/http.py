"""The endpoint over HTTP: questions and answers in JSON."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
import orjson

from ingest.embedding.base import HttpAddress, ServedModel
from ingest.embedding.refusals import refusal
from serve_app.core.errors import DeadlineExceeded, Overloaded, ReplicaUnavailable, RequestError, SetupError

TIMEOUT_S = 60.0  # as long as the endpoint itself works on a request
ASK_AGAIN_S = 1.0  # where an answer says that it will be better later, but not when
Result = TypeVar("Result")
_CREDENTIALS = re.compile(r"//[^/@]*@")


class EndpointClient:
    """Requests one after the other on a connection that is kept."""

    def __init__(self, address: HttpAddress, timeout_s: float = TIMEOUT_S) -> None:
        self.url = address.url.rstrip("/")
        self._client = httpx.Client(headers=headers(address), timeout=timeout_s)

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ask(self, method: str, path: str, body: dict[str, object] | None = None) -> Any:
        """The JSON of a 200. Raises SetupError with the server's own reason for anything else."""
        return _firmly(lambda: self.ask_once(method, path, body))

    def text(self, path: str) -> str:
        """What GET answers, as it is. Raises SetupError as `ask` does."""
        return _firmly(lambda: self._answer("GET", path, None).text)

    def ask_once(self, method: str, path: str, body: dict[str, object] | None = None) -> Any:
        """As `ask`, but raises Overloaded, ReplicaUnavailable or DeadlineExceeded for what may be better later."""
        return json_of(self._answer(method, path, body), self.url)

    def ask_patiently(self, method: str, path: str, body: dict[str, object], patience_s: float) -> Any:
        """As `ask`, but waits while the cluster has no room or no replica."""
        return _patiently(lambda: self.ask_once(method, path, body), patience_s)

    def _answer(self, method: str, path: str, body: dict[str, object] | None) -> httpx.Response:
        url = self.url + path
        content = orjson.dumps(body) if body is not None else None
        try:
            answer = self._client.request(method, url, content=content)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise no_url(url, error) from error
        except httpx.RequestError as error:
            raise ReplicaUnavailable(nothing_there(self.url)) from error
        if answer.status_code != 200:
            raise refusal(answer)
        return answer


def describe_endpoint(address: HttpAddress, timeout_s: float) -> ServedModel:
    """What the endpoint says of its model. Raises SetupError, at once if nothing answers there."""
    with EndpointClient(address, timeout_s) as client:
        name = address.model or first_model(client)
        path = f"/v1/models/{quote(name)}"
        client.ask("GET", path)  # a wrong address, key or name is told without patience
        return _patiently(lambda: _served(client.ask_once("GET", path), client.url), timeout_s)


def first_model(client: EndpointClient) -> str:
    """The name of the endpoint's first model. Raises SetupError."""
    return served_models(client)[0]


def served_models(client: EndpointClient) -> list[str]:
    """The names of the endpoint's models, at least one. Raises SetupError."""
    try:
        names = [str(card["id"]) for card in client.ask("GET", "/v1/models")["data"]]
    except (LookupError, TypeError) as error:
        raise no_endpoint(client.url) from error
    if not names:
        raise no_endpoint(client.url)
    return names


def _served(card: Any, url: str) -> ServedModel:
    """Raises ReplicaUnavailable while no replica has told its fingerprint: without it, models cannot be told apart."""
    try:
        served = ServedModel(
            name=str(card["id"]),
            native_dimensions=int(card["native_dimensions"]),
            min_dimensions=int(card["min_dimensions"]),
            max_tokens=int(card["max_tokens"]),
            fingerprint=card["fingerprint"] or "",
        )
    except (LookupError, TypeError, ValueError) as error:
        raise no_endpoint(url) from error
    if not served.fingerprint:
        raise ReplicaUnavailable(f"No replica of {served.name} answers; is it starting?")
    return served


def _firmly(ask: Callable[[], Result]) -> Result:
    try:
        return ask()
    except RequestError as error:
        raise SetupError(error.message) from error


def _patiently(ask: Callable[[], Result], patience_s: float) -> Result:
    end = time.monotonic() + patience_s
    while True:
        try:
            return ask()
        except (Overloaded, ReplicaUnavailable, DeadlineExceeded) as error:
            wait_s = error.retry_after_s or ASK_AGAIN_S
            if time.monotonic() + wait_s > end:
                raise SetupError(error.message) from error
            time.sleep(wait_s)
        except RequestError as error:
            raise SetupError(error.message) from error


def sendable(text: str) -> str:
    """JSON has no lone surrogates; each counts as the question mark that it would be shown as."""
    return text.encode("utf-8", "replace").decode()


def headers(address: HttpAddress) -> dict[str, str]:
    key = {"authorization": f"Bearer {address.key}"} if address.key else {}
    return {"content-type": "application/json", **key}


def json_of(answer: httpx.Response, url: str) -> Any:
    try:
        return orjson.loads(answer.content)
    except orjson.JSONDecodeError as error:
        raise no_endpoint(url) from error


def no_endpoint(url: str) -> SetupError:
    return SetupError(
        f"What answers at {shown(url)} is no embedding endpoint, as its answer cannot be read; give --endpoint."
    )


def no_url(url: str, error: Exception) -> SetupError:
    return SetupError(f"The endpoint {shown(url)} is no URL ({error}); give one such as http://127.0.0.1:8000.")


def nothing_there(url: str) -> str:
    return f"No cluster answers at {shown(url)}: start one with `embedctl serve`, or give --endpoint."


def shown(url: str) -> str:
    """Without the password that may stand before the host."""
    return _CREDENTIALS.sub("//", url)
