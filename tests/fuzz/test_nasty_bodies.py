"""Bodies that break parsers, tokenizers and limits: each has one right answer, at once, and the next request works."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest

from tests.clusters import RunningCluster

OK, BAD, TOO_LARGE = 200, 400, 413
Body = Callable[[str], bytes]


def of(**fields: object) -> Body:
    """JSON with the served model beside `fields`, each character beyond ASCII escaped."""
    return lambda model: json.dumps({"model": model, **fields}).encode()


def raw(tail: str) -> Body:
    """JSON text after the model's field, as it is."""
    return lambda model: f'{{"model": "{model}", {tail}}}'.encode()


def around(wrap: Callable[[bytes], bytes]) -> Body:
    """A right body, passed through `wrap`."""
    return lambda model: wrap(json.dumps({"model": model, "input": "年假"}, ensure_ascii=False).encode())


DEEP, OPEN = 100_000, '{"a":'
BODIES: dict[str, tuple[Body, int, str | None]] = {  # (body, status, field to blame)
    "a lone high surrogate": (raw(r'"input": "\ud800"'), BAD, None),
    "a lone low surrogate": (raw(r'"input": ["a", "\udc00b"]'), BAD, None),
    "a surrogate pair": (raw(r'"input": "\ud83d\ude00"'), OK, None),
    "a NUL in the text": (of(input="a\x00b"), OK, None),
    "every control character": (of(input="".join(map(chr, range(1, 32)))), OK, None),
    "only blanks": (of(input=" \t\n"), OK, None),
    "byte order mark in the text": (of(input="\ufeffa"), OK, None),
    "right-to-left and combining marks": (of(input="\u202eabc\u0301\u0301\u0301\u200d"), OK, None),
    "the end token as text": (of(input="<|endoftext|>" * 3), OK, None),
    "one megabyte of one character": (of(input="a" * 2**20), BAD, "input"),
    "one megabyte of blanks": (of(input=" " * 2**20), BAD, "input"),
    "one megabyte of one Chinese character": (of(input="法" * 350_000), BAD, "input"),
    "10,000 empty strings": (of(input=[""] * 10_000), BAD, "input"),
    "10,000 texts": (of(input=["a"] * 10_000), BAD, "input"),
    "200,000 empty lists": (of(input=[[]] * 200_000), BAD, "input"),
    "200,000 nulls": (of(input=[None] * 200_000), BAD, "input"),
    "200,000 unknown fields": (of(input="a", **{f"f{n}": 0 for n in range(200_000)}), BAD, "f0"),
    "deep lists as input": (raw(f'"input": {"[" * DEEP}{"]" * DEEP}'), BAD, None),
    "deep objects as input": (raw(f'"input": {OPEN * DEEP}0{"}" * DEEP}'), BAD, None),
    "NaN as dimensions": (raw('"input": "a", "dimensions": NaN'), BAD, "dimensions"),
    "Infinity as dimensions": (raw('"input": "a", "dimensions": Infinity'), BAD, "dimensions"),
    "NaN as an id": (raw('"input": [NaN]'), BAD, "input"),
    "1e999 as dimensions": (raw('"input": "a", "dimensions": 1e999'), BAD, "dimensions"),
    "dimensions of 5,000 digits": (
        raw(f'"input": "a", "dimensions": {"9" * 5000}'),
        BAD,
        None,
    ),  # no JSON parser of ours reads so many
    "dimensions of 64 as a float": (raw('"input": "a", "dimensions": 64.0'), BAD, "dimensions"),
    "dimensions as a string": (of(input="a", dimensions="64"), BAD, "dimensions"),
    "dimensions as a boolean": (of(input="a", dimensions=True), BAD, "dimensions"),
    "a negative id": (of(input=[1, -1]), BAD, "input"),
    "an id just outside the vocabulary": (of(input=[100_000]), BAD, "input"),
    "an id beyond 32 bits": (of(input=[2**31]), BAD, "input"),
    "an id beyond 64 bits": (of(input=[2**64]), BAD, "input"),
    "an id of 1,000 digits": (raw(f'"input": [{"7" * 1000}]'), BAD, "input"),
    "a boolean among ids": (of(input=[1, True]), BAD, "input"),
    "a float among ids": (of(input=[1, 2.0]), BAD, "input"),
    "ids and texts": (of(input=[1, "a"]), BAD, "input"),
    "ids and lists of ids": (of(input=[1, [2]]), BAD, "input"),
    "one id": (of(input=[1]), OK, None),
    "a field twice, the last one right": (raw('"input": 1, "input": "a"'), OK, None),
    "a field twice, the last one wrong": (raw('"input": "a", "input": 1'), BAD, "input"),
    "an empty field name": (of(input="a", **{"": 1}), BAD, ""),
    "a field name of a megabyte": (of(input="a", **{"x" * 2**20: 1}), BAD, "x" * 64),
    "__proto__": (of(input="a", __proto__={}), BAD, "__proto__"),
    "nothing": (lambda _: b"", BAD, None),
    "half a body": (around(lambda body: body[: len(body) // 2]), BAD, None),
    "two bodies": (around(lambda body: body * 2), BAD, None),
    "a body and a NUL": (around(lambda body: body + b"\0"), BAD, None),
    "a byte order mark before it": (around(lambda body: b"\xef\xbb\xbf" + body), BAD, None),
    "UTF-16": (around(lambda body: body.decode().encode("utf-16")), BAD, None),
    "GB18030": (around(lambda body: body.decode().encode("gb18030")), BAD, None),
    "overlong UTF-8": (around(lambda body: body.replace("年".encode(), b"\xc0\x80")), BAD, None),
    "surrogates in UTF-8": (around(lambda body: body.replace("年".encode(), b"\xed\xa0\x80")), BAD, None),
    "YAML": (lambda model: f"model: {model}\ninput: a\n".encode(), BAD, None),
    "a form": (lambda model: f"model={model}&input=a".encode(), BAD, None),
    "33 MiB of blanks": (lambda _: b" " * (33 * 2**20), TOO_LARGE, None),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_nasty_body_has_one_right_answer(name: str, http: httpx.Client, cluster: RunningCluster) -> None:
    body, status, param = BODIES[name]

    answer = http.post("/v1/embeddings", content=body(cluster.model))

    assert (answer.status_code, blamed(answer)) == (status, param)
    assert answer.headers["content-type"] == "application/json"


def blamed(answer: httpx.Response) -> str | None:
    """The field an error names, after a look at the error's shape; None for a success."""
    content = answer.json()
    if answer.is_success:
        assert content["data"]
        return None
    assert content["error"].keys() == {"message", "type", "param", "code"}
    assert 0 < len(content["error"]["message"]) < 600
    param: str | None = content["error"]["param"]
    return param


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "application/json; charset=utf-16", "x", ""])
def test_the_content_type_is_not_looked_at(content_type: str, http: httpx.Client, cluster: RunningCluster) -> None:
    answer = http.post("/v1/embeddings", content=of(input="a")(cluster.model), headers={"content-type": content_type})

    assert answer.status_code == OK


@pytest.mark.parametrize("size", [1, 7])
def test_a_chunked_body_is_put_together(size: int, http: httpx.Client, cluster: RunningCluster) -> None:
    body = around(lambda whole: whole)(cluster.model)
    chunks = (body[start : start + size] for start in range(0, len(body), size))

    answer = http.post("/v1/embeddings", content=chunks)

    assert answer.status_code == OK


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "gzip, identity", "nonsense"])
def test_a_compressed_body_is_refused_unread(encoding: str, http: httpx.Client) -> None:
    answer = http.post("/v1/embeddings", content=b"\x1f\x8b\x08", headers={"content-encoding": encoding})

    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_body")


def test_an_error_never_repeats_the_input(http: httpx.Client, cluster: RunningCluster) -> None:
    secret = "kanarienvogel"
    bodies = [
        of(input={secret: secret}),
        of(input=secret, instruction=7, user=secret),
        of(input=[secret, 1]),
        of(input=secret * 5000),
        of(input=secret, encoding_format=secret),
    ]

    answers = [http.post("/v1/embeddings", content=body(cluster.model)) for body in bodies]

    assert [answer.status_code for answer in answers] == [BAD] * len(bodies)
    assert not [answer.text for answer in answers if secret in answer.text]


def test_the_cluster_is_well_afterwards(http: httpx.Client, cluster: RunningCluster) -> None:
    answer = http.post("/v1/embeddings", content=of(input="a")(cluster.model))

    assert (answer.status_code, http.get("/ready").status_code) == (OK, OK)
