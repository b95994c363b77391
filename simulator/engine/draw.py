"""Chance as a function: the same seed and purpose always draw the same value, in any process, on any machine.

There is no generator with memory here, so no draw depends on how many draws came before it.
"""

from __future__ import annotations

from hashlib import blake2b

Purpose = str | int


def draw_bytes(seed: int, *purpose: Purpose) -> bytes:
    """Sixteen bytes for a purpose such as `("id", "titan", 7)`."""
    text = "\x1f".join([str(seed), *map(str, purpose)])
    return blake2b(text.encode(), digest_size=16).digest()


def draw_hex(seed: int, *purpose: Purpose) -> str:
    """Thirty-two lower-case hexadecimal digits."""
    return draw_bytes(seed, *purpose).hex()


def draw_uuid(seed: int, *purpose: Purpose) -> str:
    """The text of a version 4 UUID (RFC 9562)."""
    raw = bytearray(draw_bytes(seed, *purpose))
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    digits = raw.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def draw_between(low: int, high: int, seed: int, *purpose: Purpose) -> int:
    """An integer from `low` to `high`, both included."""
    return low + int.from_bytes(draw_bytes(seed, *purpose)[:8], "big") % (high - low + 1)
