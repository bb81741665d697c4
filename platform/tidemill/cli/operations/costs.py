"""What ``tidemill status --cost`` shows."""

from typing import TYPE_CHECKING, Any

from tidemill.cli.listing import Listing
from tidemill.cli.output import emit, format_moment
from tidemill.plurals import counted

if TYPE_CHECKING:
    from rich.console import Console

    from tidemill.project import ProjectFolder
    from tidemill.registry.history.turn_costs import Cost
    from tidemill.state.record_reader import Records

__all__ = ["show_cost"]

_LATEST = 20


def show_cost(folder: "ProjectFolder", records: "Records", json: bool) -> None:
    """Show what turns took and cost, by turn, by version, and for the whole project."""
    from tidemill.registry.history.turn_costs import project_cost, read_prices

    prices = read_prices(folder.params)
    found = project_cost(records, folder.model, prices)

    def money(price: float | None) -> str:
        if price is None:
            return "–"
        digits = 4 if 0 < price < 0.01 else 2  # a short turn costs less than a cent
        return f"{price:,.{digits}f} {prices.currency}".rstrip()

    def table(name: str, costs: "list[Cost]") -> Listing:
        on_gpus = ["GPU seconds"] if found.gpu_seconds else []
        listed = Listing(name, "when", "came to", "CPU seconds", *on_gpus, "cost")
        for each in costs:
            came = each.status + (f", version {each.version}" if each.version and name == "turn" else "")
            gpus = [f"{each.gpu_seconds:,.1f}"] if on_gpus else []
            spent = f"{each.cpu_seconds:,.1f}"
            listed.add_row(each.name, format_moment(each.at), came, spent, *gpus, money(each.price))
        return listed

    def render(console: "Console") -> None:
        if not found.turns:
            console.print("no turn has been measured yet: tidemill run")
            return
        console.print(table("turn", found.turns[:_LATEST]))
        if len(found.turns) > _LATEST:
            console.print(f"and {counted(len(found.turns) - _LATEST, 'earlier turn')}: see --json")
        if found.versions:
            console.print(table("version", found.versions))
        spent = f"all {counted(len(found.turns), 'turn')}: {found.cpu_seconds:,.1f} CPU seconds"
        if found.gpu_seconds:
            spent = f"{spent}, {found.gpu_seconds:,.1f} GPU seconds"
        console.print(f"{spent}, {money(found.price)}" if found.price is not None else spent)
        if prices.cpu_hour is None:
            console.print("What they cost: set cost.prices.cpu_hour in params.yaml")
        elif found.gpu_seconds and prices.gpu_hour is None:
            console.print("What turns with GPUs cost: set cost.prices.gpu_hour in params.yaml")
        if found.unmeasured:
            console.print(f"{counted(found.unmeasured, 'turn')} without a measured time")

    facts: dict[str, Any] = {
        "currency": prices.currency or None,
        "cpu_hour": prices.cpu_hour,
        "gpu_hour": prices.gpu_hour,
        "turns": [each._asdict() for each in found.turns],
        "versions": [each._asdict() for each in found.versions],
        "cpu_seconds": found.cpu_seconds,
        "gpu_seconds": found.gpu_seconds,
        "price": found.price,
        "unmeasured": found.unmeasured,
    }
    emit(facts, json, render)
