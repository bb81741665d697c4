"""Runs ``tidemill demo``: one scenario, from the first champion to a refused challenger."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidemill.demo.scenario import LaterScene, Scenario, load_scenario
from tidemill.replay.replay_loop import ReplayLoop, Tell, TrafficDensity, run_scenes
from tidemill.replay.replay_workspace import prepare_workspace

if TYPE_CHECKING:
    from tidemill.replay.traffic_replay import History

__all__ = ["run_demo"]


def run_demo(source: Path, target: Path, tell: Tell) -> dict[str, Any]:
    """Run the scenario of the project at ``source`` in the workspace ``target``.

    Returns:
        The facts, which are also written to ``demo.json`` in the workspace.

    Raises:
        TidemillError: a part of the loop failed; all started processes are stopped.
    """
    tell("workspace", str(target), None, None)
    project = prepare_workspace(source, target)
    scenario = load_scenario(project)
    history: History = project.load(project.config.project.replay or "")
    pace = TrafficDensity(scenario.requests_per_day, scenario.seed, scenario.clients)
    return run_scenes(
        project, history, scenario.start, pace, "demo", tell, lambda loop: _scenes(loop, scenario)
    )


def _scenes(loop: ReplayLoop, scenario: Scenario) -> None:
    loop.first_champion()
    loop.play(scenario.start, scenario.end, watched=True)
    if scenario.later is not None:
        _later_scene(loop, scenario.later)


def _later_scene(loop: ReplayLoop, scene: LaterScene) -> None:
    loop.clock.advance_to(scene.start)
    with loop.phase("later turns"):
        loop.turn("later turn", scene.champion_reason, scene.champion_params)
        loop.wait_until_served()
    loop.play(scene.start, scene.end, watched=False)
    with loop.phase("later turns"):
        loop.turn("challenger", scene.challenger_reason, scene.challenger_params)
