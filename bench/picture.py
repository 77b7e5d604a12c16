"""Draws what `make bench` or `make bench-peers` has measured: events a second, and what an event costs.

python -m bench.picture bench.json docs/pictures/bullmq.svg
python -m bench.picture peers.json docs/pictures/peers.svg
python -m bench.picture peers.json docs/pictures/peers-10.svg --services 10
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

OURS = "hippo-service-messenger"
SIZE = 400
WIDTH = 960
MARGIN = 24
NAMES = 204
"""How wide the names are; panels share the rest."""
ROW = 30
BAR = 18
TOP = 104
LABEL = 64
"""Room for the number behind a bar."""
STYLE = """
    .page { fill: #ffffff; stroke: #d0d7de; }
    .ours { fill: #2e7d3c; }
    .other { fill: #8db3d9; }
    .ours.server { fill: #7cbf88; }
    .other.server { fill: #cfdfef; }
    .spread { stroke: #1f2328; stroke-width: 1.2; }
    text { font-family: -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; font-size: 14px; fill: #1f2328; }
    .title { font-size: 17px; font-weight: 600; }
    .panel { font-weight: 600; }
    .strong { font-weight: 600; }
    .name { text-anchor: end; }
    .note { font-size: 12px; fill: #59636e; }
    @media (prefers-color-scheme: dark) {
      .page { fill: #12171e; stroke: #3d444d; }
      .ours { fill: #57b56a; }
      .other { fill: #3b6ea5; }
      .ours.server { fill: #2f6b3c; }
      .other.server { fill: #24415f; }
      .spread { stroke: #e6edf3; }
      text { fill: #e6edf3; }
      .note { fill: #9aa4af; }
    }"""


@dataclass(frozen=True)
class Bar:
    """Of one contender: events a second with the least and the most, and µs of processes and server an event."""

    name: str
    is_ours: bool
    rate: float
    least: float
    most: float
    processes: float
    server: float

    @property
    def kind(self) -> str:
        return "ours" if self.is_ours else "other"


@dataclass(frozen=True)
class Panel:
    """A column of the picture: where it begins, and how many pixels a unit has."""

    left: float
    scale: float

    @classmethod
    def fitting(cls, number: int, most: float) -> Panel:
        """The first (0) or second (1) one; its longest bar has room for its label."""
        width = (WIDTH - 2 * MARGIN - NAMES) / 2
        return cls(MARGIN + NAMES + number * width, (width - LABEL) / most)

    def to(self, value: float) -> float:
        """Where a value ends."""
        return self.left + value * self.scale


def bars(results: Sequence[dict[str, Any]], services: int) -> list[Bar]:
    """Those with so many services, the fastest first; of `make bench` the main rows alone."""
    found = [
        Bar(
            name=OURS if one["name"] == "ours" else one["name"],
            is_ours=one["ours"],
            rate=one["rate"],
            least=one["least"],
            most=one["most"],
            processes=one["cpu"],
            server=one["server_cpu"],
        )
        for one in results
        if one["services"] == services
        and one.get("append_only", True)
        and not one.get("live")
        and one.get("bytes", SIZE) == SIZE
    ]
    return sorted(found, key=lambda bar: -bar.rate)


def picture(measured: dict[str, Any], services: int) -> str:
    """The SVG."""
    found = bars(measured["results"], services)
    if not found:
        raise SystemExit(f"expected results with {services} services, found none: see their --services")
    height = TOP + ROW * len(found) + 52
    title = f"One event to {services} service{'s'[: services > 1]}"
    fastest = ", ".join(f"{bar.name} {bar.rate:,.0f}" for bar in found)
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title desc">',
            f'  <title id="title">{title}</title>',
            f'  <desc id="desc">Events a second: {escape(fastest)}.</desc>',
            f"  <style>{STYLE}\n  </style>",
            f'  <rect class="page" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="6" />',
            text(MARGIN, 36, title, "title"),
            text(MARGIN, 56, "validated, processed and acknowledged by each; median, least and most", "note"),
            *rates(found),
            *costs(found),
            text(MARGIN, height - 20, footnote(measured), "note"),
            "</svg>",
            "",
        )
    )


def rates(found: Sequence[Bar]) -> Iterator[str]:
    panel = Panel.fitting(0, max(bar.most for bar in found))
    yield text(panel.left, TOP - 16, "events a second", "panel")
    for bar, top in rows(found):
        strong = " strong" if bar.is_ours else ""
        yield text(panel.left - 10, top + 14, bar.name, f"name{strong}")
        yield box(panel.left, panel.to(bar.rate), top, bar.kind)
        yield spread(panel.to(bar.least), panel.to(bar.most), top + BAR / 2)
        yield text(panel.to(bar.most) + 8, top + 14, f"{bar.rate:,.0f}", strong.strip())


def costs(found: Sequence[Bar]) -> Iterator[str]:
    panel = Panel.fitting(1, max(bar.processes + bar.server for bar in found))
    yield text(panel.left, TOP - 16, "CPU µs an event", "panel")
    yield text(panel.left + 146, TOP - 16, "of the processes, then of the server", "note")
    for bar, top in rows(found):
        both = bar.processes + bar.server
        yield box(panel.left, panel.to(bar.processes), top, bar.kind)
        yield box(panel.to(bar.processes), panel.to(both), top, f"{bar.kind} server")
        yield text(panel.to(both) + 8, top + 14, f"{both:,.0f}", "strong" if bar.is_ours else "")


def rows(found: Sequence[Bar]) -> Iterator[tuple[Bar, float]]:
    """Each with where its bar has its upper edge."""
    return ((bar, TOP + number * ROW) for number, bar in enumerate(found))


def box(left: float, right: float, top: float, kind: str) -> str:
    return f'  <rect class="{kind}" x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{BAR}" />'


def spread(least: float, most: float, middle: float) -> str:
    """A thin line between two short ones."""
    ends = " ".join(f"M{x:.1f} {middle - 4:.1f}v8" for x in (least, most))
    return f'  <path class="spread" d="M{least:.1f} {middle:.1f}H{most:.1f} {ends}" />'


def text(x: float, y: float, words: str, kind: str) -> str:
    marked = f' class="{kind}"' if kind else ""
    return f'  <text{marked} x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'


def footnote(measured: dict[str, Any]) -> str:
    """When and on what; which machine is the second thing that it says of itself."""
    _, cores, *_ = measured["machine"].split(", ")
    kept = {"on": "Redis writes its file every second", "off": "Redis keeps nothing"}
    settings = measured["settings"]
    return (
        f"{measured['date']}, {cores}; {kept[settings.get('persistence', 'on')]}; runs interleaved: {settings['runs']}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measured", type=Path, help="what was written with --json")
    parser.add_argument("picture", type=Path)
    parser.add_argument("--services", type=int, default=3)
    asked = parser.parse_args()
    asked.picture.write_text(picture(json.loads(asked.measured.read_text()), asked.services))


if __name__ == "__main__":
    main()
