"""Writes a card as Markdown or as an HTML page; no text of it can become markup."""

import html
import re
from collections.abc import Iterator

from tidemill.registry.cards.card_sections import Section, Table, sections_of
from tidemill.registry.cards.model_card import ModelCard

__all__ = ["html_page", "markdown"]

_MARKUP = re.compile(r"[\\`*\[\]|~$]|(?<!\w)_|_(?!\w)")
"""Underscores inside a word mark nothing."""
_BEGINS = re.compile(r"#{1,6}(?=\s|$)|[-+=](?=[-=\s]|$)|\d+(?=[.)](?:\s|$))")
"""What makes a heading or an entry of a list at the beginning of a line."""
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;display:block;overflow-x:auto}th,td{border:1px solid #999;"
    "padding:.2rem .6rem;text-align:left;vertical-align:top}dt{font-weight:600}dd{margin:0 0 .4rem;"
    "overflow-wrap:anywhere}"
)


def markdown(card: ModelCard) -> str:
    """Return a card as Markdown."""
    lines = [f"# Model card: {_md(f'{card.model} {card.version}')}", "", _made(card)]
    for section in sections_of(card):
        lines += ["", f"## {section.title}", *_md_section(section)]
    return "\n".join(lines) + "\n"


def html_page(card: ModelCard) -> str:
    """Return a card as an HTML page that needs nothing else."""
    title = _html(f"Model card: {card.model} {card.version}")
    parts = "".join(
        f"<h2>{_html(one.title)}</h2>\n{''.join(_html_section(one))}" for one in sections_of(card)
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>'
        f"<style>{_STYLE}</style></head>\n<body><main>\n<h1>{title}</h1>\n<p>{_made(card)}</p>\n{parts}"
        "</main></body>\n</html>\n"
    )


def _made(card: ModelCard) -> str:
    return f"Made by Tidemill from its records, {card.made_at:%Y-%m-%d %H:%M} UTC."


def _md_section(section: Section) -> Iterator[str]:
    if section.facts:
        yield ""
        yield from (f"- **{_md(name)}:** {_md(told)}" for name, told in section.facts)
    if section.table is not None:
        yield ""
        yield from _md_table(section.table)
    if section.notes:
        yield ""
        yield from (f"- {_md(note)}" for note in section.notes)


def _md_table(table: Table) -> Iterator[str]:
    for row in (table.header, None, table.rows):
        if row is None:
            yield "|" + " --- |" * len(table.header)
        elif row is table.header:
            yield f"| {' | '.join(map(_md, table.header))} |"
        else:
            yield from (f"| {' | '.join(map(_md, each))} |" for each in table.rows)


def _html_section(section: Section) -> Iterator[str]:
    if section.facts:
        told = "".join(f"<dt>{_html(name)}</dt><dd>{_html(text)}</dd>\n" for name, text in section.facts)
        yield f"<dl>\n{told}</dl>\n"
    if section.table is not None:
        head = "".join(f'<th scope="col">{_html(name)}</th>' for name in section.table.header)
        rows = "".join(
            f"<tr>{''.join(f'<td>{_html(cell)}</td>' for cell in row)}</tr>\n" for row in section.table.rows
        )
        yield f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n"
    if section.notes:
        yield f"<ul>{''.join(f'<li>{_html(note)}</li>' for note in section.notes)}</ul>\n"


def _md(text: str) -> str:
    r"""Return a text that Markdown shows as it is, on one line of the source.

    >>> print(_md("a|b <i>*"), _md("# no\n[x](y)"), _md("1. no"), _md("-0.5 of a_b"))
    a\|b &lt;i&gt;\* \# no<br>\[x\](y) 1\. no -0.5 of a_b
    """
    shown = []
    for line in _printable(text).split("\n"):
        begin = _BEGINS.match(line)
        safe = _MARKUP.sub(lambda found: "\\" + found[0], html.escape(line, quote=False))
        if begin is not None:
            place = 0 if not begin[0].isdecimal() else begin.end()
            safe = f"{safe[:place]}\\{safe[place:]}"
        shown.append(safe)
    return "<br>".join(shown)


def _html(text: str) -> str:
    return html.escape(_printable(text)).replace("\n", "<br>")


def _printable(text: str) -> str:
    """Return a text without control characters and marks that turn its direction, but with its lines."""
    lines = text.replace("\r\n", "\n").strip().split("\n")
    return "\n".join(
        "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in one) for one in lines
    )
