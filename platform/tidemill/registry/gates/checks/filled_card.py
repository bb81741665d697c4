"""Checks that people have said about the model what the project requires."""

from tidemill.project.gate_checks import CardCheck
from tidemill.registry.cards.card_fields import CARD_FILE, read_fields
from tidemill.registry.gates.judged_rows import GateFinding, Judged

__all__ = ["check_card"]


def check_card(check: CardCheck, judged: Judged) -> GateFinding:
    """Return whether each required field of ``card.yaml`` is filled in.

    Raises:
        ConfigError: the file is wrong.
    """
    fields = read_fields(judged.project.root)
    empty = [name for name in check.required if getattr(fields, name) is None]
    said = f"{CARD_FILE} says nothing under {', '.join(empty)}"
    filled = f"{CARD_FILE} has {', '.join(check.required)}"
    return GateFinding(
        not empty, said if empty else filled, {"required": list(check.required), "empty": empty}
    )
