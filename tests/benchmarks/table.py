"""Tables of plain text: the first column of each row to the left, figures to the right."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]], left: int = 1) -> None:
    """Print rows under a header, the first `left` columns aligned to the left."""
    lines = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


def judge(aim: str, ratio: float, *, at_least: float | None = None, at_most: float | None = None) -> None:
    """Print whether a measured value meets an aim."""
    met = ratio >= at_least if at_least is not None else ratio <= (at_most or 0)
    wanted = f">= {at_least:g}" if at_least is not None else f"<= {at_most:g}"
    print(f"{'met   ' if met else 'MISSED'}  {aim}: {ratio:,.2f} (aim {wanted})")
