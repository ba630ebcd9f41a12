"""Drawings as SVG text: the same bytes on every machine, so that a stale figure is found as a stale table is; no
library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

INK, SOFT, LINE, PAGE = "#1d2126", "#606a75", "#d5dae0", "#ffffff"
FAMILIES = ("#4477aa", "#ee6677", "#228833", "#aa3377", "#66ccee")
"""Told apart by colour-blind people too (Paul Tol's "bright"); after the last the first again."""
NEUTRAL = "#8a939d"
WIDTH_OF = 0.56
"""Of a character at font size 1, about: no font is asked."""


def fixed(value: float) -> str:
    """A coordinate: two decimals at most, no minus before a zero."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


@dataclass
class Drawing:
    """Width and height in pixels; the origin is the upper left corner."""

    width: float
    height: float
    title: str
    parts: list[str] = field(default_factory=list)

    def text(self, x: float, y: float, text: str, *, size: float = 11, fill: str = INK, anchor: str = "start",
             weight: int = 400, style: str = "") -> None:  # fmt: skip
        """On the baseline y. `anchor`: start, middle or end."""
        more = f' font-weight="{weight}"' if weight != 400 else ""
        more += f' font-style="{style}"' if style else ""
        more += f' text-anchor="{anchor}"' if anchor != "start" else ""
        at = f'x="{fixed(x)}" y="{fixed(y)}" font-size="{fixed(size)}" fill="{fill}"'
        self.parts.append(f"<text {at}{more}>{escape(text)}</text>")

    def line(self, x: float, y: float, x2: float, y2: float, *, stroke: str = LINE, width: float = 1,
             dash: str = "") -> None:  # fmt: skip
        more = f' stroke-dasharray="{dash}"' if dash else ""
        at = f'x1="{fixed(x)}" y1="{fixed(y)}" x2="{fixed(x2)}" y2="{fixed(y2)}"'
        self.parts.append(f'<line {at} stroke="{stroke}" stroke-width="{fixed(width)}"{more}/>')

    def rect(self, x: float, y: float, width: float, height: float, *, fill: str, title: str = "") -> None:
        """`title` is shown where the pointer rests."""
        at = f'x="{fixed(x)}" y="{fixed(y)}" width="{fixed(width)}" height="{fixed(height)}" fill="{fill}"'
        self.parts.append(f"<rect {at}>{_title(title)}</rect>" if title else f"<rect {at}/>")

    def mark(self, x: float, y: float, *, colour: str, hollow: bool = False, square: bool = False, radius: float = 4.5,
             title: str = "") -> None:  # fmt: skip
        fill = PAGE if hollow else colour
        paint = f'fill="{fill}" stroke="{colour if hollow else PAGE}" stroke-width="{1.8 if hollow else 1}"'
        if square:
            side = 2 * radius - 1
            at = f'x="{fixed(x - side / 2)}" y="{fixed(y - side / 2)}" width="{fixed(side)}" height="{fixed(side)}"'
            self.parts.append(f"<rect {at} {paint}>{_title(title)}</rect>")
        else:
            at = f'cx="{fixed(x)}" cy="{fixed(y)}" r="{fixed(radius)}"'
            self.parts.append(f"<circle {at} {paint}>{_title(title)}</circle>")

    def bytes(self) -> bytes:
        size = f'width="{fixed(self.width)}" height="{fixed(self.height)}"'
        box = f'viewBox="0 0 {fixed(self.width)} {fixed(self.height)}"'
        font = 'font-family="system-ui, Segoe UI, Roboto, Helvetica Neue, Arial, DejaVu Sans, sans-serif"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {box} {font} role="img" aria-label='
        page = f'<rect width="100%" height="100%" fill="{PAGE}"/>'
        body = "\n".join([_title(self.title), page, *self.parts])
        return f"{head}{quoteattr(self.title)}>\n{body}\n</svg>\n".encode()


def _title(text: str) -> str:
    return f"<title>{escape(text)}</title>" if text else ""


def width_of(text: str, size: float) -> float:
    """About, in pixels."""
    return WIDTH_OF * size * len(text)


def ticks(top: float, at_most: int = 6) -> list[float]:
    """Round numbers from 0 to the first that is not below `top`, which is above 0."""
    step = 10.0 ** _power(top / at_most)
    while top / step > at_most:
        step *= 2 if str(step).lstrip("0.").startswith("1") else 2.5 if str(step).lstrip("0.").startswith("2") else 2
    count = int(-(-top // step))
    return [round(step * number, 6) for number in range(count + 1)]


def ticks_between(low: float, high: float, at_most: int = 6) -> list[float]:
    """Round numbers from the last that is not above `low` to the first that is not below `high`."""
    step = ticks(max(high - low, 0.01), at_most)[1]
    first, last = int(low // step), int(-(-high // step))
    return [round(step * number, 6) for number in range(first, max(last, first + 1) + 1)]


def _power(value: float) -> int:
    power = 0
    while 10.0**power > value:
        power -= 1
    while 10.0 ** (power + 1) <= value:
        power += 1
    return power


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Each place moved as little as it takes for all to lie `gap` apart from `low` to `high`, their order kept; where
    there is no room they lie evenly."""
    order = sorted(range(len(places)), key=lambda at: (places[at], at))
    if len(places) > 1 and gap * (len(places) - 1) > high - low:
        gap = (high - low) / (len(places) - 1)
    # blocks of touching labels, each around the mean of where its labels want to be
    blocks: list[list[int]] = []
    starts: list[float] = []
    for at in order:
        blocks.append([at])
        starts.append(_start(blocks[-1], places, gap, low, high))
        while len(blocks) > 1 and starts[-2] + gap * len(blocks[-2]) > starts[-1]:
            last = blocks.pop()
            blocks[-1] += last
            starts.pop()
            starts[-1] = _start(blocks[-1], places, gap, low, high)
    found = [0.0] * len(places)
    for block, start in zip(blocks, starts, strict=True):
        for number, at in enumerate(block):
            found[at] = start + gap * number
    return found


def _start(block: Sequence[int], places: Sequence[float], gap: float, low: float, high: float) -> float:
    length = gap * (len(block) - 1)
    wanted = sum(places[at] for at in block) / len(block) - length / 2
    return min(max(wanted, low), max(high - length, low))
