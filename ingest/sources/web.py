"""GET over http(s) for addresses that other people wrote: public hosts only, few redirects, bounded time and size."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpcore
import httpx

from ingest.settings import MIB, SourceSettings
from ingest.sources.allowed import climbs, require_allowed
from serve_app.core.errors import DocumentError

MAX_REDIRECTS = 5
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 30.0  # without a single byte
TOTAL_TIMEOUT_S = 600.0  # for one address, redirects and body together
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_GONE = frozenset({404, 410})
_HEADERS = (("User-Agent", "embed-cluster"), ("Accept", "*/*"), ("Accept-Encoding", "identity"))
_MAX_ADDRESSES = 4  # of one host, tried one after the other
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful response whose body has not been read yet. Header names are in lower case."""

    headers: dict[str, str]
    chunks: Iterator[bytes]


def normalised(url: str) -> str:
    """The one spelling of an address: lower-case host, escapes where needed, no fragment.

    Raises ValueError, whose message does not repeat the address, for one that cannot be fetched safely.
    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError("it is not a valid URL") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError("only http:// and https:// addresses with a host can be fetched")
    if parsed.userinfo:
        raise ValueError("a URL must not hold a user name or password")
    if climbs(urlsplit(str(parsed)).path):
        raise ValueError("a URL must not hold '..'")
    return str(parsed.copy_with(fragment=None))


@contextmanager
def get(url: str, name: str, settings: SourceSettings) -> Iterator[Answer]:
    """Ask for `url` and follow its redirects, each checked like the first.

    Raises DocumentError, also while the body is read: missing, refused or unreadable. `name` stands for the
    address in messages: queries may hold keys.
    """
    deadline = time.monotonic() + TOTAL_TIMEOUT_S
    with _client(name, settings) as pool, _told(name):
        for _ in range(1 + MAX_REDIRECTS):
            require_allowed(url, name, settings)
            with ExitStack() as stack:
                response = stack.enter_context(_request(pool, url))
                headers = _headers(response.headers)
                if response.status not in _REDIRECTS or "location" not in headers:
                    _require_success(response.status, headers, name)
                    yield Answer(headers, _chunks(response.iter_stream(), deadline, name))
                    return
            url = _next(url, headers["location"], name)
    raise DocumentError(f"{name} redirects more than {MAX_REDIRECTS} times.", reason="unreadable")


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public Internet, whatever IPv6 wraps around it."""
    ip: IPAddress = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        ip = inner or ip
    return ip.is_global and not ip.is_multicast


class _CheckedBackend(httpcore.SyncBackend):
    """Connects to the very addresses that were checked, so that a second DNS answer cannot lead elsewhere."""

    def __init__(self, name: str, allow_private: bool) -> None:
        super().__init__()
        self._name = name
        self._allow_private = allow_private

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError("the host name is not known") from error
        addresses = dict.fromkeys(str(entry[4][0]) for entry in found)
        permitted = [address for address in addresses if self._allow_private or is_public(address)][:_MAX_ADDRESSES]
        if not permitted:
            raise DocumentError(
                f"{self._name} leads to a private or loopback address; "
                "set sources.allow_private_hosts to fetch from such hosts.",
                reason="refused",
            )
        for address in permitted[:-1]:
            try:
                return super().connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue  # the next may answer: hosts without IPv6 still learn IPv6 addresses
        return super().connect_tcp(permitted[-1], port, timeout, local_address, socket_options)


def _client(name: str, settings: SourceSettings) -> httpcore.ConnectionPool:
    backend = _CheckedBackend(name, settings.allow_private_hosts)
    return httpcore.ConnectionPool(network_backend=backend)


@contextmanager
def _request(pool: httpcore.ConnectionPool, url: str) -> Iterator[httpcore.Response]:
    timeouts = {
        "connect": CONNECT_TIMEOUT_S,
        "read": READ_TIMEOUT_S,
        "write": READ_TIMEOUT_S,
        "pool": CONNECT_TIMEOUT_S,
    }
    with pool.stream("GET", url, headers=_HEADERS, extensions={"timeout": timeouts}) as response:
        yield response


@contextmanager
def _told(name: str) -> Iterator[None]:
    try:
        yield
    except httpcore.TimeoutException as error:
        raise DocumentError(f"{name} did not answer in time.", reason="unreadable") from error
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol) as error:
        cause = str(error) or type(error).__name__
        raise DocumentError(f"{name} cannot be fetched: {cause}.", reason="unreadable") from error


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in raw}


def _require_success(status: int, headers: dict[str, str], name: str) -> None:
    if status in _GONE:
        raise DocumentError(f"{name} is not there any more (HTTP {status}).", reason="missing")
    if status != httpx.codes.OK:
        raise DocumentError(f"{name} cannot be fetched (HTTP {status}).", reason="unreadable")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise DocumentError(f"{name} came compressed although it was asked for as it is.", reason="unreadable")


def _next(url: str, location: str, name: str) -> str:
    try:
        return normalised(str(httpx.URL(url).join(location)))
    except (ValueError, httpx.InvalidURL) as error:
        raise DocumentError(f"{name} redirects to an address that is refused: {error}.", reason="refused") from error


def _chunks(body: Iterable[bytes], deadline: float, name: str) -> Iterator[bytes]:
    """The body in pieces of about 1 MiB."""
    pending = bytearray()
    for piece in body:
        if time.monotonic() > deadline:
            raise DocumentError(f"{name} did not arrive within {TOTAL_TIMEOUT_S:g} s.", reason="unreadable")
        pending += piece
        if len(pending) >= MIB:
            yield bytes(pending)
            pending.clear()
    yield bytes(pending)
