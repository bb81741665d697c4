"""Writes SVG: elements whose attributes and texts are escaped, so that data never becomes markup.

Colours and fonts are classes of ``tidemill.css``; positions are in units of a picture that is `WIDTH` wide.
"""

from collections.abc import Iterable
from html import escape

from markupsafe import Markup

__all__ = ["LEFT", "RIGHT", "WIDTH", "element", "picture", "shortened", "text"]

WIDTH = 720.0
"""Of a picture, in its own units; the page shows it as wide as there is room."""
LEFT, RIGHT = 150.0, 708.0
"""Where the plotted area begins and ends: the same for all pictures, so that their time axes are aligned."""


def element(name: str, content: str = "", **attributes: object) -> str:
    """Return an element; ``content`` is markup, attributes are escaped.

    An underscore in an attribute's name stands for a hyphen, and one at its end is dropped.

    >>> element("rect", x=1.25, class_="bar")
    '<rect x="1.2" class="bar"/>'
    >>> element("g", element("title", "a"), text_anchor='"')
    '<g text-anchor="&quot;"><title>a</title></g>'
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_written(value), quote=True)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{written}>{content}</{name}>" if content else f"<{name}{written}/>"


def text(words: str, x: float, y: float, class_: str = "axis-text", anchor: str = "start") -> str:
    """Return a text at a place.

    >>> text("<b>", 1, 2)
    '<text x="1" y="2" class="axis-text">&lt;b&gt;</text>'
    """
    given = {} if anchor == "start" else {"text_anchor": anchor}
    return element("text", escape(words), x=x, y=y, class_=class_, **given)


def picture(title: str, height: float, parts: Iterable[str], *, links: bool = False) -> Markup:
    """Return a whole picture.

    Args:
        title: what it shows, for those who do not see it.
        height: in its own units.
        parts: elements.
        links: whether there are links in it: then it is a group for a screen reader, else one image.
    """
    drawn = element("title", escape(title)) + "".join(parts)
    return Markup(  # every text and attribute in it went through html.escape
        element(
            "svg",
            drawn,
            viewBox=f"0 0 {WIDTH:g} {height:g}",
            class_="chart",
            role="group" if links else "img",
            aria_label=title,
        )
    )


def shortened(words: str, most: int) -> str:
    """Return a text, cut in its middle if it is longer than there is room: names differ at their ends, too.

    >>> shortened("carrier_late_share_28d", 15)
    'carrier…are_28d'
    """
    end = (most - 1) // 2
    return words if len(words) <= most else f"{words[: most - 1 - end]}…{words[-end:]}"


def _written(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
