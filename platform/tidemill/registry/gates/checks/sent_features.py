"""Checks that what clients of the champion send is enough for the candidate, and what they get the same."""

from tidemill.errors import DataError
from tidemill.plurals import counted
from tidemill.project.gate_checks import SignatureCheck
from tidemill.registry.gates.judged_rows import GateFinding, Judged
from tidemill.registry.versions.loaded_model import Scorer

__all__ = ["check_signature"]


def check_signature(check: SignatureCheck, judged: Judged) -> GateFinding:
    """Return whether the candidate needs no feature, and no type, that the champion did not.

    Features of a store are looked up by key, so that clients need not send new ones.

    Raises:
        DataError: a version could not be loaded.
    """
    judged.scored()
    mine, theirs = judged.served, judged.champion_served
    if mine is None:
        raise DataError("not measured: the candidate could not be loaded", hint="see the other reasons")
    if theirs is None:
        return GateFinding(True, "there is no champion, whose clients it would have to fit")
    added = [name for name in mine.features if name not in theirs.features]
    dropped = [name for name in theirs.features if name not in mine.features]
    changed = [
        f"{name}: {_kind(theirs, name)} became {_kind(mine, name)}"
        for name in mine.features
        if name in theirs.features and _kind(mine, name) != _kind(theirs, name)
    ]
    before, now = (tuple(getattr(one.task, "classes", ())) for one in (theirs, mine))
    answers = [] if before == now else [f"the classes were {', '.join(before)} and are {', '.join(now)}"]
    unsent = [] if judged.project.config.features.source != "request" else added
    said = [f"clients do not send {', '.join(unsent)}"] if unsent else []
    said += [*changed, *answers]
    numbers = {"added": added, "dropped": dropped, "changed": changed, "answers": answers}
    fits = f"{counted(len(mine.features), 'feature')}, all as clients of version {theirs.version} send them"
    if added and not unsent:
        fits += f"; new and looked up by key: {', '.join(added)}"
    return GateFinding(not said, "; ".join(said) or fits, numbers)


def _kind(scorer: Scorer, name: str) -> str:
    if name in scorer.lists:
        return f"a list of {scorer.lists[name]}"
    return "text" if name in scorer.words else "a number"
