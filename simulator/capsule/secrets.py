"""Credentials stay where they are: in a capsule each one is a placeholder, `credential-1` and so on, the same wherever it was.

What is a credential is said by `simulator.runtime.redaction`, and by the names of a scenario's settings. Whoever looks through
the same texts in the same order gives the same placeholders, and a placeholder in the place of a credential gives itself: so the
replay of a capsule makes the same capsule again.

First everything is looked through, so that what turns out to be a credential is found before that as well; then everything is
rewritten: in its own places each credential, elsewhere those that are long enough to be known again. One that is a plain word,
such as `password`, or a number is struck out elsewhere only where it stands alone, as the word itself is no secret.
"""

from __future__ import annotations

import binascii
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from urllib.parse import quote, unquote_plus

import yaml
from starlette.types import Message

from simulator.capsule.model import CallStep, Capsule, Headers
from simulator.runtime.redaction import (
    ADDRESSES,
    CREDENTIALS,
    IN_BODIES,
    MEMBER_NAME,
    SECRET_PARAMETERS,
    SECRETS,
)

KNOWN_AGAIN_FROM = 4
"""Shorter credentials are looked for in their own places only."""
_PLACEHOLDER = re.compile(r"credential-[0-9]+")
_SETTING = re.compile(r"(?:.*_)?(?:tokens|users|passwords?|secrets?|api_keys?|credentials)")
"""Settings of an API that hold credentials; a duration such as `token_lifetime` is none."""
_USERS = "users"
_MEMBER = re.compile(MEMBER_NAME.decode(), re.IGNORECASE)
_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"(\s*:)?', re.DOTALL)
"""A text of JSON; with a colon behind it, a name."""
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_GLOB = re.compile(r"[*?\[]")

Put = Callable[[str], str]
"""From a credential to what stands in its place."""


class Secrets:
    """The credentials of one world, in the order in which they were found."""

    def __init__(self) -> None:
        self._placeholders: dict[str, str] = {}
        self._elsewhere: _Elsewhere | None = None

    def put(self, secret: str) -> str:
        """The placeholder of a credential."""
        placeholder = self._placeholders.get(secret)
        if placeholder is None:
            placeholder = self._placeholders[secret] = f"credential-{len(self._placeholders) + 1}"
            self._elsewhere = None
        return placeholder

    def learn_message(self, headers: Headers, body: bytes, path: str = "") -> None:
        """Look for credentials in a request or an answer."""
        _hide_in_path(path, self.put)
        for name, value in headers:
            _hide_in_header(name, value, self.put)
        _hide_in_body(body, self.put)

    def learn_scenario(self, text: str) -> None:
        """Look for credentials in what a scenario says."""
        _hide_in_scenario(text, self.put)

    def hidden_path(self, path: str) -> str:
        """This address without credentials."""
        return self._everywhere.strike(_hide_in_path(path, self.put))

    def hidden_message(self, headers: Headers, body: bytes) -> tuple[Headers, bytes]:
        """These headers and this body without credentials; the length of the body is the new one."""
        hidden = self._everywhere.strike_bytes(_hide_in_body(body, self.put))
        was, now = str(len(body)), str(len(hidden))
        return (
            tuple(
                (name, now)
                if name.lower() == "content-length" and value == was
                else (name, self._everywhere.strike(_hide_in_header(name, value, self.put)))
                for name, value in headers
            ),
            hidden,
        )

    def hidden_scenario(self, text: str) -> str:
        """What a scenario says without credentials; every line stays where it is."""
        return self._everywhere.strike(_hide_in_scenario(text, self.put))

    def hidden_text(self, text: str) -> str:
        """Any other text, such as the name of a file."""
        return self._everywhere.strike(text)

    @property
    def _everywhere(self) -> _Elsewhere:
        if self._elsewhere is None:
            self._elsewhere = _Elsewhere(self._placeholders)
        return self._elsewhere


class Learned:
    """Credentials that the server itself makes up: in a replay it makes others, which its clients then have to use."""

    def __init__(self, capsule: Capsule) -> None:
        self._actual: dict[str, str] = {}
        self._made: dict[int, list[str]] = {}
        known = {
            found
            for script in capsule.scripts
            for _, text in script.texts
            for found in _PLACEHOLDER.findall(text)
        }
        for step in capsule.calls:
            known.update(_placeholders_in(step.path, step.headers, step.body))
            answer = step.answer
            made = [one for one in _placeholders_in("", answer.headers, answer.body) if one not in known]
            if made:
                self._made[step.number] = made
                known.update(made)

    def look(self, step: CallStep, sent: Sequence[Message]) -> None:
        """Take over what the server has made up in this answer."""
        made = self._made.get(step.number)
        if made is None or not sent:
            return
        body = b"".join(message.get("body", b"") for message in sent)
        pairs = [(step.answer.body.decode("latin-1"), body.decode("latin-1"))]
        actual = {name.decode("latin-1"): value.decode("latin-1") for name, value in sent[0]["headers"]}
        pairs += [(value, actual.get(name, "")) for name, value in step.answer.headers]
        for placeholder in made:
            for recorded, now in pairs:
                value = _in_place_of(placeholder, recorded, now)
                if value and value != placeholder:
                    self._actual[placeholder] = value
                    break

    def actual(self, text: str) -> str:
        """A text as a client of this server would say it."""
        if not self._actual or "credential-" not in text:
            return text
        return _PLACEHOLDER.sub(lambda found: self._actual.get(found[0], found[0]), text)

    def actual_message(self, headers: Headers, body: bytes) -> tuple[Headers, bytes]:
        """The same for headers and a body, with the length that it has then."""
        if not self._actual:
            return headers, body
        said = self.actual(body.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        was, now = str(len(body)), str(len(said))
        return (
            tuple(
                (name, now if name.lower() == "content-length" and value == was else self.actual(value))
                for name, value in headers
            ),
            said,
        )


def _placeholders_in(path: str, headers: Headers, body: bytes) -> list[str]:
    found = _PLACEHOLDER.findall(path)
    for _, value in headers:
        found += _PLACEHOLDER.findall(value)
    return found + _PLACEHOLDER.findall(body.decode("latin-1"))


def _in_place_of(placeholder: str, recorded: str, now: str) -> str:
    """What stands in one text where another one has a placeholder; empty when they differ before it."""
    before, found, after = recorded.partition(placeholder)
    if not found or not now.startswith(before):
        return ""
    rest = now[len(before) :]
    return rest.partition(after[0])[0] if after else rest


class _Elsewhere:
    """Finds known credentials in places where nobody would look for one."""

    def __init__(self, placeholders: dict[str, str]) -> None:
        self._forms: dict[str, str] = {}
        words: set[str] = set()
        others: set[str] = set()
        for secret, placeholder in placeholders.items():
            if len(secret) < KNOWN_AGAIN_FROM or secret == placeholder or _PLACEHOLDER.fullmatch(secret):
                continue
            for form in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1]):
                self._forms[form] = placeholder
                (words if form.isalpha() or form.isdigit() else others).add(form)
        alone = rf"(?<=[\"'=>])(?:{_any_of(words)})(?=[\"'<&]|$)(?![\"']\s*:)"
        bounded = rf"(?<![\w-])(?:{_any_of(others)})(?![\w-])"
        patterns = [pattern for pattern, forms in ((bounded, others), (alone, words)) if forms]
        self._pattern = re.compile("|".join(patterns)) if patterns else None

    def strike(self, text: str) -> str:
        """This text with placeholders in their places."""
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda found: self._forms[found[0]], text)

    def strike_bytes(self, body: bytes) -> bytes:
        """The same for a body, whatever its bytes mean."""
        if self._pattern is None or not body:
            return body
        return self.strike(body.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def _any_of(forms: Iterable[str]) -> str:
    return "|".join(map(re.escape, sorted(forms, key=lambda form: (-len(form), form))))


# ---- the places where credentials are ---------------------------------------------------------------------------------


def _hide_in_path(path: str, put: Put) -> str:
    bare, question, query = path.partition("?")
    if not question:
        return path
    return f"{bare}?" + "&".join(_hide_in_parameter(pair, put) for pair in query.split("&"))


def _hide_in_parameter(pair: str, put: Put) -> str:
    name, _, value = pair.partition("=")
    if not value or unquote_plus(name).strip().lower() not in SECRET_PARAMETERS:
        return pair
    return f"{name}={quote(put(unquote_plus(value)), safe='')}"


def _hide_in_header(name: str, value: str, put: Put) -> str:
    name = name.lower()
    if not value.strip():
        return value
    if name in CREDENTIALS:
        return _hide_in_authorization(value, put)
    if name in ("cookie", "set-cookie"):
        return _hide_in_cookies(value, put, first_only=name == "set-cookie")
    if name in SECRETS:
        return put(value)
    return _hide_in_path(value, put) if name in ADDRESSES else value


def _hide_in_authorization(value: str, put: Put) -> str:
    scheme, space, rest = value.partition(" ")
    secret = rest.strip()
    if not secret:
        return put(value) if not space else value
    if scheme.lower() == "basic":
        try:
            user, colon, password = b64decode(secret, validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            return f"{scheme} {put(secret)}"
        hidden = _hide_in_user(f"{user}{colon}{password}", put)
        return f"{scheme} {b64encode(hidden.encode()).decode()}"
    return f"{scheme} {rest.replace(secret, put(secret))}"


def _hide_in_user(user: str, put: Put) -> str:
    """Of `name:password` the password; the name is none of the secrets."""
    name, colon, password = user.partition(":")
    return f"{name}:{put(password)}" if password else f"{name}{colon}"


def _hide_in_cookies(value: str, put: Put, *, first_only: bool) -> str:
    pairs = value.split(";")
    for place, pair in enumerate(pairs[: 1 if first_only else None]):
        name, equals, secret = pair.partition("=")
        if equals and secret.strip():
            pairs[place] = f"{name}={put(secret.strip())}"
    return ";".join(pairs)


def _hide_in_body(body: bytes, put: Put) -> bytes:
    if not body:
        return body
    in_json, in_text, in_xml, in_form = (pattern for pattern, _ in IN_BODIES)

    def hide_plain(found: re.Match[bytes]) -> bytes:
        value = found[0][len(found[1]) :]
        return found[1] + put(value.decode("utf-8", "replace")).encode()

    def hide_json(found: re.Match[bytes]) -> bytes:
        value = found[0][len(found[1]) :].decode("utf-8", "surrogateescape")
        return found[1] + _hide_in_json(value, put).encode("utf-8", "surrogateescape")

    def hide_text(found: re.Match[bytes]) -> bytes:
        value = found[0][len(found[1]) + 2 :]
        end = b'\\"' if value.endswith(b'\\"') else b""
        secret = value[: len(value) - len(end)].decode("utf-8", "replace")
        return found[1] + b'\\"' + put(secret).encode() + end

    def hide_parameter(found: re.Match[bytes]) -> bytes:
        value = found[0][len(found[1]) :].decode("latin-1")
        return found[1] + quote(put(unquote_plus(value)), safe="").encode()

    body = in_json.sub(hide_json, body)
    body = in_text.sub(hide_text, body)
    body = in_xml.sub(hide_plain, body)
    return in_form.sub(hide_parameter, body)


def _hide_in_json(value: str, put: Put) -> str:
    """A value of JSON that is a credential, or the texts in it; of a number the digits change, so that it stays one."""
    if value[:1] == '"' or value[:1] in "[{":
        return _TEXT.sub(lambda found: found[0] if found[1] else _hide_in_text(found[0], put), value)
    if _NUMBER.fullmatch(value):
        return put(value).removeprefix("credential-")
    return put(value)


def _hide_in_text(written: str, put: Put) -> str:
    try:
        secret = json.loads(written, strict=False)
    except ValueError:
        secret = written[1:-1]
    return f'"{put(secret)}"' if secret else written


# ---- scenarios ------------------------------------------------------------------------------------------------------


def _hide_in_scenario(text: str, put: Put) -> str:
    """Replace the scalars that hold credentials, each within its line."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, OverflowError, IndexError, RecursionError):
        return text
    changes = {}
    for node, hide in _secret_scalars(root, None, set()):
        written = text[node.start_mark.index : node.end_mark.index]
        if "\n" not in written and node.value:
            changes[node.start_mark.index] = (node.end_mark.index, json.dumps(hide(node.value, put)))
    pieces, place = [], 0
    for start in sorted(changes):
        end, instead = changes[start]
        pieces += [text[place:start], instead]
        place = end
    return "".join([*pieces, text[place:]])


Hide = Callable[[str, Put], str]


def _secret_scalars(
    node: yaml.Node | None, hide: Hide | None, seen: set[int]
) -> Iterator[tuple[yaml.ScalarNode, Hide]]:
    """The scalars that hold credentials, each with how they are hidden in it, in the order in which they stand."""
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.ScalarNode):
        if hide is not None and node.tag not in _NOT_SECRET:
            yield node, hide
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _secret_scalars(item, hide, seen)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            yield from _secret_scalars(value, hide or _hide_under(name), seen)


_NOT_SECRET = frozenset({"tag:yaml.org,2002:bool", "tag:yaml.org,2002:null"})


def _hide_under(key: str) -> Hide | None:
    """How credentials are hidden in what a scenario says under a key; None when there are none."""
    name = key.rpartition(".")[2].lower()
    if name == _USERS:
        return _hide_in_user
    if name in CREDENTIALS or name in SECRETS:
        return lambda value, put: value if _GLOB.search(value) else _hide_in_header(name, value, put)
    if _SETTING.fullmatch(name) or _MEMBER.fullmatch(name):
        return lambda value, put: value if _GLOB.search(value) else put(value)
    return None
