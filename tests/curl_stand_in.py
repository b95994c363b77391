#!/usr/bin/env python3
"""The few options of curl that the README uses, for machines without curl. Any other option is an error."""

from __future__ import annotations

import argparse
import sys
import uuid
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen


def multipart(fields: list[str]) -> tuple[bytes, str]:
    boundary = uuid.uuid4().hex
    body = b""
    for field in fields:
        name, _, value = field.partition("=")
        disposition = f'form-data; name="{name}"'
        content = value.encode()
        if value.startswith("@"):
            path = Path(value[1:])
            disposition += f'; filename="{path.name}"'
            content = path.read_bytes()
        body += f"--{boundary}\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("-s", action="store_true")
    parser.add_argument("-X", default=None)
    parser.add_argument("-H", action="append", default=[])
    parser.add_argument("-d", default=None)
    parser.add_argument("-F", action="append", default=[])
    parser.add_argument("url")
    given = parser.parse_args()
    headers = dict(line.split(": ", 1) for line in given.H)
    data = None
    if given.F:
        data, headers["Content-Type"] = multipart(given.F)
    elif given.d is not None:
        data = given.d.encode()
        headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
    headers.setdefault("Accept", "*/*")
    url = given.url if given.url.startswith("http") else f"http://{given.url}"
    request = Request(url, data=data, headers=headers, method=given.X or ("POST" if data else "GET"))
    try:
        with urlopen(request) as response:
            answer = response.read()
    except HTTPError as refused:
        answer = refused.read()
    sys.stdout.buffer.write(answer)


if __name__ == "__main__":
    main()
