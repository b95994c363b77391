"""What the call log never shows: who calls, and with which credentials.

The log keeps what was said as it was said, and strikes credentials out whenever somebody reads it. Names decide: those of
headers, of parameters of a query or a form, and of members of a JSON or XML body. A body is looked through as text, so that
one which is cut or malformed gives nothing away either. What a service calls `token` in a body is mostly the name of a job, so
that word alone is none of them there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote_plus

REDACTED = "…redacted…"
CREDENTIALS = frozenset({"authorization", "proxy-authorization"})
ADDRESSES = frozenset({"location", "content-location", "referer", "link"})
SECRETS = frozenset(
    {
        *("cookie", "set-cookie", "x-api-key", "api-key", "apikey", "x-auth-token", "x-access-token"),
        *("x-csrf-token", "x-session-token", "sessiontoken"),
    }
)
_LOOKED_INTO = CREDENTIALS | ADDRESSES | SECRETS
SECRET_PARAMETERS = frozenset(
    {
        *("token", "access_token", "refresh_token", "id_token", "sessiontoken", "session_token", "jwt"),
        *("apikey", "api_key", "api-key", "x-api-key", "secret", "client_secret", "password", "passwd"),
        *("auth", "authorization", "credential", "credentials", "signature", "sig"),
        *("x-amz-signature", "x-amz-credential", "x-amz-security-token"),
    }
)
# Names of members end so: `dbPassword` and `client_secret` are meant, `pageToken` is not.
MEMBER_NAME = (
    rb"[\w.-]{0,64}(?:passw(?:or)?d|passphrase|secret|jwt|authorization|credentials?|cookie"
    rb"|(?:api|private|access|secret)[_-]?key|(?:access|refresh|session|id|auth|security|bearer)[_-]?token)"
)
_FLAGS = re.IGNORECASE | re.DOTALL
_STRUCK = REDACTED.encode()
IN_BODIES = (
    # A member whose value is a text, a list, an object or anything else; what says nothing may stay.
    (
        re.compile(
            rb'("' + MEMBER_NAME + rb'"\s*:\s*)(?!null\b|true\b|false\b|""|\[\s*\]|\{\s*\})'
            rb'(?:"(?:[^"\\]|\\.)*"?|\[[^\]]*\]?|\{[^{}]*\}?|[^\s",\[\]{}]+)',
            _FLAGS,
        ),
        rb'\1"' + _STRUCK + rb'"',
    ),
    # A member of a JSON text within a JSON text.
    (
        re.compile(rb'(\\"' + MEMBER_NAME + rb'\\"\s*:\s*)\\"[^"\\]+(?:\\")?', _FLAGS),
        rb'\1\\"' + _STRUCK + rb'\\"',
    ),
    # An element of XML.
    (re.compile(rb"(<(?:\w+:)?" + MEMBER_NAME + rb"(?:\s[^<>]*)?>)[^<]+", _FLAGS), rb"\1" + _STRUCK),
    # A field of a form, or a parameter of an address.
    (re.compile(rb"((?:\A|[?&])" + MEMBER_NAME + rb"=)[^&\s\"'<>]+", _FLAGS), rb"\1" + _STRUCK),
)

Headers = tuple[tuple[str, str], ...]


def redacted_headers(headers: Iterable[tuple[str, str]]) -> Headers:
    """These headers, credentials struck out; of an Authorization its scheme stays."""
    return tuple(
        (name, _redacted(name.lower(), value)) if name.lower() in _LOOKED_INTO else (name, value)
        for name, value in headers
    )


def redacted_path(path: str) -> str:
    """This address, the values of those parameters of its query struck out that are credentials."""
    bare, question, query = path.partition("?")
    if not question:
        return path
    pairs = [pair.partition("=") for pair in query.split("&")]
    return f"{bare}?" + "&".join(
        f"{name}={REDACTED}" if equals and _is_secret(name) else f"{name}{equals}{value}"
        for name, equals, value in pairs
    )


def redacted_body(body: bytes) -> bytes:
    """This body, or as much of it as there is, without the values of members, elements and fields that are credentials."""
    for pattern, struck_out in IN_BODIES:
        body = pattern.sub(struck_out, body)
    return body


def _is_secret(parameter: str) -> bool:
    return unquote_plus(parameter).strip().lower() in SECRET_PARAMETERS


def _redacted(name: str, value: str) -> str:
    if name in CREDENTIALS:
        scheme, space, _ = value.partition(" ")
        return f"{scheme} {REDACTED}" if space else REDACTED
    if name not in ADDRESSES:
        return REDACTED
    return redacted_path(value)
