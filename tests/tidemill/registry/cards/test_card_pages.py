from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

from markdown import markdown as rendered

from tidemill.registry.cards.card_pages import html_page, markdown
from tidemill.registry.cards.model_card import (
    CardCalibration,
    CardFeature,
    CardFigure,
    CardGate,
    CardGroup,
    CardPeriod,
    CardUse,
    LiveFigure,
    ModelCard,
)

AT = datetime(2013, 7, 1, 12, tzinfo=UTC)
HOSTILE = "<img src=x onerror=alert(1)>\n# loud\n[go](javascript:alert(1)) | **b** `c` \x1b[31m\u202e"
NAMES = ("purpose", "limits", "owner", "contact", "risk", "kpi")
BARE = ModelCard(
    model="parcel-delay", version="2", made_at=AT, said=dict.fromkeys(NAMES), said_at=None,
    said_otherwise=(), aliases=(), task=None,
    family=None, parameters={}, trials=None, registered_at=AT, by=None, why=None, run_id=None, turn_id=None,
    digest=None, data_version=None, as_of=None, parts={}, rows=None, refitted_on=None, feature_rows=0,
    features=(), figures=(), held_out_rows=0, gate=None, calibration=(), groups=(), live=(), monitor_runs={},
    drifted={}, alerts={}, use=(), served=(), lineage={}, unknown=(),
)  # fmt: skip
FULL = replace(
    BARE,
    task="binary", trials=12, parts={"holdout": "the fortnight"}, rows=5000, refitted_on=5000,
    feature_rows=900, features=(CardFeature("weight", "number", 0.25, 7, 1.5, 0.5),),
    figures=(CardFigure("holdout", "mae", 12.5, 12.0, 13.25),), held_out_rows=800,
    gate=CardGate(True, "enforce", "1", "roc_auc", 0.01, -0.002, 0.03, 1200, ("a gain of +0.0100",), AT),
    calibration=(CardCalibration("hold-out", 0.0125, None, 800),),
    groups=(CardGroup("slice", "depot = north", "roc_auc", 0.61, 0.7, 40, AT),),
    live=(LiveFigure("weekly", "measured", "roc_auc", 0.74, 0.7, 0.78, 912, AT, AT),),
    monitor_runs={"alert": 2, "ok": 1}, drifted={"weight": 2}, alerts={"data_drift": 1},
    use=(CardUse("champion", 3581, 4, AT),), served=(CardPeriod(AT, None, "promotion", "ada", "better"),),
    lineage={"commit": "860e7f", "uncommitted files": "app.py"},
)  # fmt: skip


def test_what_is_not_on_record_or_not_filled_in_is_said_to_be_so():
    card = markdown(BARE)
    assert card.count("not filled in") == len(NAMES)
    for said in (
        "**SHA-256 of its file:** not on record",
        "The gate has not seen it",
        "No replica has scored",
    ):
        assert said in card
    assert "no monitor of the kind fairness judged it" in card
    assert "too narrow" not in card  # there are no intervals


def test_numbers_stand_with_their_intervals_and_with_what_they_do_not_say():
    card = markdown(FULL)
    for said in (
        "| weight | number | 25.0% | 7 | 1.5 | 0.5 |",
        "| holdout | mae | 12.5 | 12 to 13.25 |",
        "**Gain in roc_auc:** +0.0100, 90 % interval -0.0020 to +0.0300",
        "| hold-out | 0.0125 | – | 800 |",
        "| slice | depot = north | roc_auc | 0.61 | 0.7 | 40 |",
        "| weekly | measured | roc_auc | 0.74 | 0.7 to 0.78 | 912 |",
        "| weight | 2 of 3 |",
        "**Rows as champion:** 3,581 scored, 4 failed",
        "| 2013-07-01 12:00 UTC | still | promotion | ada | better |",
        "it may be no better",
        "learnt from all 5,000 rows",
        "changes that no commit holds",
        "(the fortnight), and of no other time",
        "too narrow",
    ):
        assert said in card
    assert "slice_quality judged it" not in card


class Tags(HTMLParser):
    """Collects what a page consists of."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes = set(), set()
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_no_text_of_a_person_becomes_markup():
    gate = CardGate(False, "enforce", None, None, None, None, None, None, (HOSTILE,), AT)
    why = CardPeriod(AT, None, "promotion", HOSTILE, HOSTILE)
    card = replace(
        FULL, said=dict.fromkeys(NAMES, HOSTILE), by=HOSTILE, why=HOSTILE, gate=gate, served=(why,)
    )
    shown = Tags(html_page(card))
    assert shown.tags == Tags(html_page(FULL)).tags | {"br"}
    assert shown.attributes == {"lang", "charset", "name", "content", "scope"}
    text = markdown(card)
    inside = Tags(rendered(text, extensions=["tables"]))
    assert inside.tags <= {
        "h1",
        "h2",
        "p",
        "ul",
        "li",
        "strong",
        "br",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    }
    assert "# loud" in text
    assert "<h1>loud" not in rendered(text, extensions=["tables"])
    assert "\x1b" not in text + html_page(card)
    assert "\u202e" not in text + html_page(card)
