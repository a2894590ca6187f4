"""The page behind /docs: the OpenAPI document as HTML that is complete in itself.

It works in a closed network, and a browser that shows it asks no other host: whoever reads about this service stays
between the two of them. The policy that goes with it holds the browser to that.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256
from html import escape

from serve_app.http.openapi import Document

SCRIPT = """
const here = new URL(".", location).href.slice(0, -1);
for (const place of document.querySelectorAll(".here")) place.textContent = here;
"""
STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #5b6577; --line: #d9dee7; --page: #fff; --box: #f5f7fa;
  --get: #1f6f43; --post: #1d4f91; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ef; --soft: #9aa5b8; --line: #343c4a; --page: #14181f;
  --box: #1d232d; --get: #6fcf97; --post: #7fb2f0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 2rem 1.25rem 5rem; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.9rem; }
h2 { margin: 0; font-size: 1.15rem; }
h3 { margin: 1.25rem 0 .4rem; font-size: .8rem; letter-spacing: .06em; text-transform: uppercase; color: var(--soft); }
p { margin: .5rem 0; }
a { color: inherit; }
code, pre { font: .875rem/1.5 ui-monospace, "DejaVu Sans Mono", monospace; }
pre { margin: 0; padding: .8rem 1rem; overflow-x: auto; background: var(--box); border-radius: 6px; }
section { margin-top: 2.5rem; padding-top: 1.25rem; border-top: 1px solid var(--line); }
nav ul { margin: 1.25rem 0 0; padding: 0; list-style: none; }
nav li { padding: .1rem 0; }
nav a { text-decoration: none; }
nav a:hover { text-decoration: underline; }
.method { display: inline-block; min-width: 3em; margin-right: .4em; font-weight: 700; color: var(--get); }
.post { color: var(--post); }
.soft { color: var(--soft); }
.wide { overflow-x: auto; }
table { width: 100%; min-width: 38rem; border-collapse: collapse; font-size: .93rem; }
th, td { padding: .45rem .8rem .45rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--soft); }
td:first-child { white-space: nowrap; }
"""
EXAMPLE = {"model": "MODEL", "input": ["late delivery"]}  # what every request about texts may look like


def _digest(content: str) -> str:
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"


CONTENT_POLICY = (
    f"default-src 'none'; style-src {_digest(STYLE)}; script-src {_digest(SCRIPT)}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def docs_page(document: Document) -> str:
    """`document` as openapi_document makes it. Everything in it is taken for text, never for HTML."""
    title = escape(document["info"]["title"])
    operations = [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    links = "".join(
        f'<li><a href="#{_anchor(path)}">{_heading(method, path)}</a> '
        f'<span class="soft">{_prose(operation["summary"])}</span></li>'
        for method, path, operation in operations
    )
    schemas = document["components"]["schemas"]
    sections = "".join(_section(method, path, operation, schemas) for method, path, operation in operations)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head><body>"
        f"<h1>{title}</h1><p>OpenAI’s embeddings interface, with a few optional fields: an OpenAI client works with "
        '<code><span class="here">http://localhost:8000</span>/v1</code> as its base URL. '
        "<code>MODEL</code> is any of those that <code>GET /v1/models</code> lists. "
        f'For programs: <a href="openapi.json">openapi.json</a>.</p><nav><ul>{links}</ul></nav>{sections}'
        f"<section><h2>Errors</h2><p>An answer other than 200 says what was wrong, the limit and the way out.</p>"
        f"<pre>{escape(_shape(schemas['Error'], schemas))}</pre></section>"
        f"<script>{SCRIPT}</script></body></html>"
    )


def _section(method: str, path: str, operation: Document, schemas: Document) -> str:
    key = "A key, where keys are configured." if operation["security"] else "No key."
    parts = [
        f'<section id="{_anchor(path)}"><h2>{_heading(method, path)}</h2>'
        f'<p>{_prose(operation["summary"])}. <span class="soft">{key}</span></p>'
    ]
    body = operation.get("requestBody")
    if body is not None:
        parts.append(f"<h3>Fields</h3>{_fields(_resolved(_schema_in(body), schemas))}")
    parts.append(f"<h3>Example</h3><pre>{_curl(method, path, operation)}</pre>")
    answer = _schema_in(operation["responses"]["200"])
    if "$ref" in answer:
        parts.append(f"<h3>Answer</h3><pre>{escape(_shape(answer, schemas))}</pre>")
    errors = [(status, told) for status, told in operation["responses"].items() if status != "200"]
    if errors:
        parts.append(f"<h3>Errors</h3><p>{', '.join(_error(status, told) for status, told in errors)}</p>")
    return "".join([*parts, "</section>"])


def _heading(method: str, path: str) -> str:
    return f'<span class="method {escape(method)}">{escape(method.upper())}</span><code>{escape(path)}</code>'


def _anchor(path: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", path.lower()).strip("-")


def _error(status: str, told: Document) -> str:
    wait = " with <code>Retry-After</code>" if "headers" in told else ""
    return f"<code>{escape(status)}</code> {_words(told['description'])}{wait}"


def _words(name: str) -> str:
    """`BodyTooLarge` as words."""
    return escape(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())


def _prose(text: str) -> str:
    """Text in which backticks mark code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _fields(schema: Document) -> str:
    required = schema["required"]
    rows = sorted(schema["properties"].items(), key=lambda item: item[0] not in required)
    cells = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{_prose(_type(field))}</td>"
        f"<td>{_default(field, name in required)}</td><td>{_prose(field.get('description', ''))}</td></tr>"
        for name, field in rows
    )
    return (
        '<div class="wide"><table><thead><tr><th>field</th><th>type</th><th>default</th><th>meaning</th></tr></thead>'
        f"<tbody>{cells}</tbody></table></div>"
    )


def _default(field: Document, is_required: bool) -> str:
    if is_required:
        return "required"
    default = field.get("default")
    return f"<code>{escape(str(default))}</code>" if default is not None else ""


def _type(schema: Document) -> str:
    """In words, with backticks. That a field may be null goes without saying: it may be left out."""
    if "anyOf" in schema:
        return _either(_type(choice) for choice in schema["anyOf"] if choice.get("type") != "null")
    if "enum" in schema:
        return _either(f"`{choice}`" for choice in schema["enum"])
    if schema["type"] == "array":
        return f"list of {_plural(_type(schema['items']))}"
    return str(schema["type"])


def _plural(noun: str) -> str:
    first, of, rest = noun.partition(" of ")
    return f"{first}s{of}{rest}"


def _either(choices: Iterable[str]) -> str:
    *first, last = choices
    return f"{', '.join(first)} or {last}" if first else last


def _shape(schema: Document, schemas: Document, indent: str = "") -> str:
    """JSON with types in the place of values."""
    schema, inner = _resolved(schema, schemas), indent + "  "
    if "const" in schema:
        return json.dumps(schema["const"])
    if "anyOf" in schema:
        return _either(_shape(choice, schemas, indent) for choice in schema["anyOf"])
    if schema["type"] == "array":
        return f"[{_shape(schema['items'], schemas, indent)}, …]"
    if schema["type"] == "object":
        fields = (f'{inner}"{name}": {_shape(field, schemas, inner)}' for name, field in schema["properties"].items())
        return "{\n" + ",\n".join(fields) + f"\n{indent}}}"
    return schema["type"] if isinstance(schema["type"], str) else _either(schema["type"])


def _curl(method: str, path: str, operation: Document) -> str:
    """As HTML: the script puts the page's own address into it."""
    address = escape(re.sub(r"\{(\w+)\}", lambda name: name[1].upper(), path))
    parts = [f'curl -s <span class="here">http://localhost:8000</span>{address}']
    if operation["security"]:
        parts.append(escape('-H "Authorization: Bearer $KEY"', quote=False))
    if method == "post":
        parts.append(escape(f"-d '{json.dumps(EXAMPLE)}'", quote=False))
    return " \\\n  ".join(parts)


def _schema_in(content: Document) -> Document:
    (kind,) = content["content"].values()
    schema: Document = kind["schema"]
    return schema


def _resolved(schema: Document, schemas: Document) -> Document:
    resolved: Document = schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    return resolved
