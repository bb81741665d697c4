"""Draws a directed graph in layers from left to right, as SVG: each node right of all that it comes from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Box", "draw_graph", "layers"]

_WIDTH, _HEIGHT, _GAP, _ROW = 170, 46, 34, 62


@dataclass(frozen=True)
class Box:
    """A node of the graph."""

    id: str
    kind: str
    name: str
    href: str | None
    """Where a click leads to."""
    start: bool = False
    """Whether it is the one that was asked for."""
    gap: bool = False
    """Whether something is missing from the records."""


def draw_graph(title: str, boxes: Sequence[Box], edges: Sequence[tuple[str, str, str]]) -> str:
    """Return the SVG.

    Args:
        title: of the picture, for those who cannot see it.
        boxes: the nodes.
        edges: upper node (the origin), lower node, and how the lower one depends on it.

    >>> boxes = [Box("a", "data", "4f1d", "/a"), Box("b", "run", "9<", "/b")]
    >>> drawn = draw_graph("Chain", boxes, [("a", "b", "trained on")])
    >>> drawn.count("<rect"), "9&lt;" in drawn, "trained on" in drawn
    (2, True, True)
    """
    columns = layers([box.id for box in boxes], [(upper, lower) for upper, lower, _ in edges])
    places = _places(columns)
    width = max((x for x, _ in places.values()), default=0) + _WIDTH + 20
    height = max((y for _, y in places.values()), default=0) + _HEIGHT + 20
    parts = [
        f'<svg role="group" aria-label="{escape(title)}" class="chain" '
        f'viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
    ]
    parts += [_edge(places[upper], places[lower], relation) for upper, lower, relation in edges]
    parts += [_box(box, *places[box.id]) for box in boxes]
    return "".join([*parts, "</svg>"])


def layers(nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Return the nodes in columns: each at least one right of its origins; a circle is cut somewhere.

    >>> layers(["c", "a", "b"], [("a", "b"), ("b", "c"), ("a", "c")])
    [['a'], ['b'], ['c']]
    """
    depth = dict.fromkeys(nodes, 0)
    for _ in nodes:
        moved = False
        for upper, lower in edges:
            if upper != lower and depth[lower] <= depth[upper] < len(nodes) - 1:
                depth[lower], moved = depth[upper] + 1, True
        if not moved:
            break
    used = sorted(set(depth.values()))
    return [[node for node in nodes if depth[node] == level] for level in used]


def _places(columns: Sequence[Sequence[str]]) -> Mapping[str, tuple[int, int]]:
    """Return left and top of each node; columns are centred."""
    tallest = max((len(column) for column in columns), default=0)
    return {
        node: (
            10 + number * (_WIDTH + _GAP),
            10 + row * _ROW + (tallest - len(column)) * _ROW // 2,
        )
        for number, column in enumerate(columns)
        for row, node in enumerate(column)
    }


def _edge(upper: tuple[int, int], lower: tuple[int, int], relation: str) -> str:
    x1, y1 = upper[0] + _WIDTH, upper[1] + _HEIGHT // 2
    x2, y2 = lower[0], lower[1] + _HEIGHT // 2
    bend = max((x2 - x1) // 2, 20)
    path = f"M{x1},{y1} C{x1 + bend},{y1} {x2 - bend},{y2} {x2},{y2}"
    return f'<path d="{path}"><title>{escape(relation)}</title></path>'


def _box(box: Box, x: int, y: int) -> str:
    kind = "start" if box.start else "gap" if box.gap else "known"
    full = escape(f"{box.kind} {box.name}")
    opened, closed = ("<g>", "</g>") if box.href is None else (f'<a href="{escape(box.href)}">', "</a>")
    return (
        f'{opened}<rect class="{kind}" x="{x}" y="{y}" '
        f'width="{_WIDTH}" height="{_HEIGHT}" rx="5"><title>{full}</title></rect>'
        f'<text class="kind" x="{x + 10}" y="{y + 17}">{escape(box.kind)}</text>'
        f'<text x="{x + 10}" y="{y + 35}">{escape(_cut(box.name, 22))}</text>{closed}'
    )


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
