"""What breaks first, on paper."""

from dataclasses import replace

from benchmarks.scale_plan import Costs, Need, Target, daily, needs, replicas


def loads(target: Target) -> dict[str, Need]:
    return {need.part: need for need in needs(target, Costs())}


def test_what_cannot_grow_and_is_asked_for_most_comes_first():
    found = needs(Target(), Costs())
    fixed = [need for need in found if not need.grows]
    assert found[: len(fixed)] == fixed
    assert [need.load for need in fixed] == sorted((need.load for need in fixed), reverse=True)
    assert fixed[0].load > 1, "a hundred models in one release are too many"


def test_what_is_to_be_turned_helps():
    before, after = (
        loads(Target()),
        loads(Target(apart=True, poll_seconds=5, round_seconds=10, cached=0.9, rows=1e6)),
    )
    for part in ("compaction of a model, by its controller", "monitors with labels, a model"):
        assert before[part].load > 1 > after[part].load
    for part in ("records (one lock)", "MLflow: who serves"):
        assert after[part].load < before[part].load / 100
    assert after["online store"].load < before["online store"].load / 9


def test_it_grows_with_the_traffic():
    assert replicas(Target(rate=1), Costs()) == 1
    twice = replace(Target(), rate=20_000)
    assert daily(twice, Costs())["lines"] == 2 * daily(Target(), Costs())["lines"]
    assert replicas(twice, Costs()) == 3
