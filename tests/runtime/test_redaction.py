"""What is struck out of headers, addresses and bodies before anybody sees them."""

from __future__ import annotations

import pytest

from simulator.runtime.redaction import REDACTED, redacted_body, redacted_headers, redacted_path


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("Authorization", "Bearer s3cret", f"Bearer {REDACTED}"),
        ("AUTHORIZATION", "Basic dTpw", f"Basic {REDACTED}"),
        ("authorization", "s3cret", REDACTED),
        ("Proxy-Authorization", "Basic dTpw", f"Basic {REDACTED}"),
        ("Cookie", "a=b; c=d", REDACTED),
        ("Set-Cookie", "a=b; Path=/", REDACTED),
        ("X-API-Key", "s3cret", REDACTED),
        ("sessionToken", "s3cret", REDACTED),
        ("Location", "/v1/x?token=s3cret", f"/v1/x?token={REDACTED}"),
        ("Referer", "http://h/x?a=1&jwt=s3cret", f"http://h/x?a=1&jwt={REDACTED}"),
        ("Accept", "application/json", "application/json"),
        ("X-Cookie-Count", "3", "3"),
    ],
)
def test_headers_that_are_credentials_are_struck_out(name: str, value: str, kept: str) -> None:
    assert redacted_headers([("A", "1"), (name, value)]) == (("A", "1"), (name, kept))


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("/a", "/a"),
        ("/a?", "/a?"),
        ("/a?x=1&y", "/a?x=1&y"),
        ("/a?token=s3cret", f"/a?token={REDACTED}"),
        ("/a?x=1&Access_Token=s3cret&y=2", f"/a?x=1&Access_Token={REDACTED}&y=2"),
        ("/a?%74oken=s3cret", f"/a?%74oken={REDACTED}"),
        ("/a?api_key=s3=cret==", f"/a?api_key={REDACTED}"),
        ("/a?pageToken=2", "/a?pageToken=2"),
        ("/a?token", "/a?token"),
        ("/a?token=s3cret?token=s3cret", f"/a?token={REDACTED}"),
    ],
)
def test_parameters_that_are_credentials_are_struck_out_of_a_path(path: str, kept: str) -> None:
    assert redacted_path(path) == kept


STRUCK = f'"{REDACTED}"'


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ('{"password":"s3cret"}', f'{{"password":{STRUCK}}}'),
        (
            '{"user":"u", "accessToken" : "s3\\"cret", "x":1}',
            f'{{"user":"u", "accessToken" : {STRUCK}, "x":1}}',
        ),
        (
            '[{"sessionToken":"s3cret"},{"secret":"s3cret"}]',
            f'[{{"sessionToken":{STRUCK}}},{{"secret":{STRUCK}}}]',
        ),
        ('{"dbPassword":12345,"a":2}', f'{{"dbPassword":{STRUCK},"a":2}}'),
        ('{"client_secret":["s3cret"],"a":2}', f'{{"client_secret":{STRUCK},"a":2}}'),
        ('{"credentials":{"k":"s3cret"},"a":2}', f'{{"credentials":{STRUCK},"a":2}}'),
        ('{"a":"b","PASSWORD":"s3cr', f'{{"a":"b","PASSWORD":{STRUCK}'),
        (r'{"payload":"{\"apiKey\": \"s3cret\"}"}', rf'{{"payload":"{{\"apiKey\": \"{REDACTED}\"}}"}}'),
        (
            "<job><n:password a='1'>s3cret</n:password></job>",
            f"<job><n:password a='1'>{REDACTED}</n:password></job>",
        ),
        ("user=u&password=s3cret&x=1", f"user=u&password={REDACTED}&x=1"),
        (
            '{"url":"http://h/?access_token=s3cret","a":1}',
            f'{{"url":"http://h/?access_token={REDACTED}","a":1}}',
        ),
    ],
)
def test_credentials_are_struck_out_of_bodies_whatever_form_they_have(body: str, shown: str) -> None:
    assert redacted_body(body.encode()).decode() == shown


@pytest.mark.parametrize(
    "body",
    [
        '{"token":"42","nextPageToken":"abc","asyncToken":"7"}',
        '{"password":null,"secret":"","credentials":{},"jwt":[],"apiKey":false}',
        '{"message":"the password is wrong","passwords":3}',
        "<passwords>3</passwords>",
        "\x00\xff",
    ],
)
def test_what_is_no_credential_stays_as_it_is(body: str) -> None:
    assert redacted_body(body.encode()) == body.encode()
