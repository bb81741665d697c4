"""Whether a configuration that cannot work is told so before anything is started, by its fields' names."""

import pytest
import yaml

from tidemill.errors import ConfigError
from tidemill.project import load_project
from tidemill.serving.runtime.configuration_checks import require_coherent
from tidemill.serving.runtime.daemon import up
from tidemill.serving.runtime.network import free_port
from tidemill.serving.runtime.stack_record import read
from tidemill.settings import Settings

APPLICATION = """
from tidemill.serving.inference.composition import Composition, Part

class application:
    composition = Composition({"second": Part("other", replicas=PARTS)}, score=None)
"""


@pytest.fixture
def project(tmp_path, request):
    def made(settings=None, parts=0, **serve):
        params = {
            "project": {
                "name": "parcels",
                "model": "parcel-delay",
                "training": "parcels_app:spec",
                "application": f"coherent_{request.node.name.partition('[')[0]}:application",
            },
            "dataset": {"path": "data/training_set.parquet", "label": "late"},
            "features": {"service": "parcels"},
            "serve": serve,
        }
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
        module = params["project"]["application"].partition(":")[0]
        (tmp_path / f"{module}.py").write_text(APPLICATION.replace("PARTS", str(parts)))
        return load_project(tmp_path, settings or Settings())

    return made


def test_the_defaults_fit_together(project):
    require_coherent(project(parts=1))
    require_coherent(project(autoscaling={"min": 1, "max": 4}, jobs={"enabled": True}))


@pytest.mark.parametrize(
    ("serve", "said"),
    [
        ({"autoscaling": {"min": 3, "max": 2}}, ["serve.autoscaling.min (3)", "serve.autoscaling.max (2)"]),
        (
            {"replicas": 2, "autoscaling": {"max": 2}},
            ["serve.replicas", "serve.autoscaling", "leave one out"],
        ),
        (
            {"max_in_flight": 8, "autoscaling": {"max": 2, "target_ongoing_requests": 16}},
            ["serve.autoscaling.target_ongoing_requests (16)", "serve.max_in_flight (8)"],
        ),
        ({"batch": {"max_rows": 10, "loop_rows": 20}}, ["serve.batch.loop_rows (20)", "max_rows (10)"]),
        (
            {"timeout_seconds": 0.2, "batch": {"wait_ms": 300}},
            ["serve.batch.wait_ms", "serve.feature_seconds", "serve.timeout_seconds (0.2 s)"],
        ),
        (
            {"jobs": {"enabled": True, "max_instances": 10}},
            ["serve.jobs.max_instances (10)", "serve.max_instances (1000)"],
        ),
        ({"replicas": 40}, ["40 replicas", "80 ports", "serve.replicas"]),
        ({"replicas": 31, "jobs": {"enabled": True, "workers": 3}}, ["3 workers", "65 ports"]),
        ({"autoscaling": {"max": 33}}, ["33 replicas", "serve.autoscaling.max"]),
    ],
)
def test_what_cannot_work_names_the_fields(project, serve, said):
    with pytest.raises(ConfigError) as error:
        require_coherent(project(**serve))
    assert [words for words in said if words not in str(error.value)] == []


def test_the_default_size_of_batches_is_no_choice_to_contradict(project):
    made = project(batch={"loop_rows": 128})
    assert made.config.serve.batch.max_rows < 128
    require_coherent(made)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("amqp://user:hunter2@host/", "scheme 'amqp'"),
        ("redis://:hunter2@127.0.0.1:{port}/0", "redis://127.0.0.1:{port} (TIDEMILL_BROKER_URL) does not"),
        ("redis://[:hunter2", "is not an address"),
    ],
)
def test_jobs_need_a_broker_that_answers_and_its_password_is_not_told(project, url, said):
    port = free_port()
    settings = Settings(broker_url=url.replace("{port}", str(port)))
    require_coherent(project(settings))  # no jobs, no broker
    with pytest.raises(ConfigError) as error:
        require_coherent(project(settings, jobs={"enabled": True}))
    assert said.replace("{port}", str(port)) in str(error.value)
    assert "hunter2" not in str(error.value)


def test_a_redis_that_answers_will_do(project, redis_address):
    require_coherent(project(Settings(broker_url=f"redis://{redis_address}/3"), jobs={"enabled": True}))


def test_nothing_is_started_and_every_problem_is_told_at_once(project):
    wrong = project(replicas=40, batch={"max_rows": 10, "loop_rows": 20})
    with pytest.raises(ConfigError, match=r"serve.batch.loop_rows .*; 40 replicas"):
        up(wrong)
    assert read(wrong) is None
