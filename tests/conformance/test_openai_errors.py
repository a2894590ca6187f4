"""Every error of ours becomes the exception that users of the OpenAI client already catch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx2
import openai
import pytest

from serve_app.core import errors
from serve_app.core.types import ReplicaCounters
from serve_app.dispatch.slice_client import embedder_handle
from serve_app.http.problems import error_response
from serve_app.settings import AppSettings, LimitSettings, LiveSettings, ModelSettings
from tests.clusters import RunningCluster
from tests.conformance.strict import serve_router
from tests.conformance.vectors import TEXTS, PlainEndpoint

EXCEPTIONS: dict[type[errors.RequestError], type[openai.APIStatusError]] = {
    errors.InvalidRequest: openai.BadRequestError,
    errors.UnsupportedDimensions: openai.BadRequestError,
    errors.InputTooLong: openai.BadRequestError,
    errors.TooManyInputs: openai.BadRequestError,
    errors.Unauthorized: openai.AuthenticationError,
    errors.Forbidden: openai.PermissionDeniedError,
    errors.ModelNotFound: openai.NotFoundError,
    errors.RouteNotFound: openai.NotFoundError,
    errors.MethodNotAllowed: openai.APIStatusError,
    errors.BodyTooLarge: openai.APIStatusError,
    errors.UnsupportedBody: openai.APIStatusError,
    errors.Overloaded: openai.RateLimitError,
    errors.EngineFailed: openai.InternalServerError,
    errors.ReplicaUnavailable: openai.InternalServerError,
    errors.DeadlineExceeded: openai.InternalServerError,
}


def answering(error: errors.RequestError, calls: list[httpx2.Request], retries: int = 0) -> openai.OpenAI:
    """A client whose every call is answered with `error`, rendered as the product renders it."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        calls.append(request)
        response = error_response(error)
        return httpx2.Response(response.status_code, headers=dict(response.headers), content=bytes(response.body))

    transport = httpx2.Client(transport=httpx2.MockTransport(answer))
    return openai.OpenAI(base_url="http://cluster/v1", api_key="EMPTY", max_retries=retries, http_client=transport)


@pytest.mark.parametrize("kind", EXCEPTIONS)
def test_each_error_becomes_its_exception_with_code_and_param(kind: type[errors.RequestError]) -> None:
    with (
        answering(kind("what, limit, fix", param="input"), []) as client,
        pytest.raises(EXCEPTIONS[kind], match="what, limit, fix") as raised,
    ):
        client.embeddings.create(model="m", input="a")

    assert (raised.value.status_code, raised.value.code, raised.value.param) == (kind.status, kind.code, "input")
    assert raised.value.type == kind.type


def test_the_table_has_every_error_a_client_can_get() -> None:
    def below(kind: type[errors.RequestError]) -> set[type[errors.RequestError]]:
        return {kind}.union(*(below(child) for child in kind.__subclasses__()))

    assert below(errors.RequestError) - EXCEPTIONS.keys() == {errors.RequestError, errors.ClientGone}


@pytest.mark.parametrize("kind", [errors.Overloaded, errors.ReplicaUnavailable])
def test_the_client_waits_as_long_as_retry_after_says(
    kind: type[errors.RequestError], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    calls: list[httpx2.Request] = []

    with (
        answering(kind("full", retry_after_s=2.2), calls, retries=1) as client,
        pytest.raises(openai.APIStatusError),
    ):
        client.embeddings.create(model="m", input="a")

    assert (len(calls), waits) == (2, [3.0])


@pytest.fixture
def client(plain: PlainEndpoint) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=plain.base_url, api_key=plain.key, max_retries=0) as opened:
        yield opened


def test_the_cluster_answers_what_the_table_says(client: openai.OpenAI, plain: PlainEndpoint) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        client.embeddings.create(model="no-such-model", input="a")
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("no-such-model")
    with pytest.raises(openai.BadRequestError) as too_small:
        client.embeddings.create(model=plain.model, input="a", dimensions=7)
    with pytest.raises(openai.APIStatusError) as compressed:
        client.embeddings.create(model=plain.model, input="a", extra_headers={"Content-Encoding": "gzip"})

    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    assert (too_small.value.code, too_small.value.param) == ("dimensions_unsupported", "dimensions")
    assert compressed.value.status_code == 415


def test_keys_are_asked_for(strict: PlainEndpoint) -> None:
    with (
        openai.OpenAI(base_url=strict.base_url, api_key="EMPTY", max_retries=0) as keyless,
        pytest.raises(openai.AuthenticationError) as refused,
    ):
        keyless.embeddings.create(model=strict.model, input="a")
    with openai.OpenAI(base_url=strict.base_url, api_key=strict.key, max_retries=0) as keyed:
        answer = keyed.embeddings.create(model=strict.model, input="a")
        with pytest.raises(openai.PermissionDeniedError) as forbidden:
            keyed.with_options(base_url=strict.url).get("/metrics", cast_to=httpx2.Response)

    assert (refused.value.code, forbidden.value.code) == ("invalid_api_key", "insufficient_scope")
    assert refused.value.response.headers["www-authenticate"] == "Bearer"
    assert len(answer.data) == 1


def test_limits_have_their_own_errors(strict: PlainEndpoint) -> None:
    with openai.OpenAI(base_url=strict.base_url, api_key=strict.key, max_retries=0) as keyed:
        with pytest.raises(openai.BadRequestError) as too_many:
            keyed.embeddings.create(model=strict.model, input=["a"] * 5)
        with pytest.raises(openai.APIStatusError) as too_large:
            keyed.embeddings.create(model=strict.model, input="a" * 2**20)

    assert too_many.value.code == "batch_too_large"
    assert (too_large.value.status_code, too_large.value.code) == (413, "body_too_large")


def test_a_request_with_more_work_than_time_has_its_own_error(
    cluster: RunningCluster, counters: Callable[[], ReplicaCounters]
) -> None:
    """A Router with little patience; `counters` has connected this process to Ray."""
    model = ModelSettings(path=str(cluster.checkpoint), name=cluster.model)
    settings = AppSettings(models=(model,), live=LiveSettings(limits=LimitSettings(request_timeout_s=0.3)))
    texts = [f"{number}: {TEXTS[0] * 10}" for number in range(1000)]
    with (
        serve_router(settings, {cluster.model: embedder_handle(cluster.model)}) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="EMPTY", max_retries=0) as impatient,
        pytest.raises(openai.InternalServerError) as late,
    ):
        impatient.embeddings.create(model=cluster.model, input=texts)

    assert (late.value.status_code, late.value.code) == (504, "deadline_exceeded")
