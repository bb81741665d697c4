import pickle
from dataclasses import replace

import pytest

from tidemill.errors import ConfigError
from tidemill.settings import Secret, Settings


def test_a_setting_comes_from_the_environment_unless_it_is_given(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TIDEMILL_SERVE_PORT", "8000")
    monkeypatch.setenv("TIDEMILL_PRIVACY_KEY", "a secret of sixteen bytes")
    monkeypatch.setenv("TIDEMILL_ACTOR", "")
    assert Settings().serve_port == 8000
    assert Settings(serve_port=9000).serve_port == 9000
    assert Settings().privacy_key == Secret("a secret of sixteen bytes")
    assert Settings(privacy_key=None).privacy_key is None
    assert Settings().actor is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SERVE_PORT", "eighty"), ("SERVE_PORT", "65536"), ("MLFLOW_PORT", "-1"), ("NUM_CPUS", "1.5"),
        ("TRACE_SHARE", "1.1"), ("TRACE_SHARE", "nan"), ("OPENLINEAGE_TIMEOUT", "0"), ("PLAIN_HTTP", "yes"),
        ("TRUSTED_PROXIES", "*"), ("TRUSTED_PROXIES", "10.0.0.0/33"),
        ("TRUSTED_PROXIES", "10.0.0.1,,10.0.0.2"),
    ],
)  # fmt: skip
def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str):
    monkeypatch.setenv(f"TIDEMILL_{name}", value)
    with pytest.raises(ConfigError, match=f"TIDEMILL_{name} is '{value}'"):
        Settings()


def test_no_secret_is_shown_and_all_travel_to_replicas():
    settings = Settings(
        api_key="tmk_1_hidden", state_url="postgresql://me:hidden@db/x", broker_url="redis://:hidden@b"
    )
    assert "hidden" not in repr(settings) + str(settings.api_key)
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert replace(settings, api_key=None).broker_url == settings.broker_url


def test_the_variables_bring_the_settings_about(monkeypatch: pytest.MonkeyPatch):
    settings = Settings(
        api_key="tmk_1_2", trace_share=0.5, host="0.0.0.0", plain_http="accepted", hand_over_turns=True
    )
    variables = settings.variables()
    names = ("API_KEY", "TRACE_SHARE", "HOST", "PLAIN_HTTP", "HAND_OVER_TURNS")
    assert set(variables) == {f"TIDEMILL_{name}" for name in names}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings


@pytest.mark.parametrize("name", ["policy:weekly", "rollout:r1", "registry", "token:hers", "oidc:corp"])
def test_nobody_acts_by_the_name_of_a_part_of_tidemill(name: str):
    with pytest.raises(ConfigError, match="not a person"):
        _ = Settings(actor=name).who
    assert Settings(actor="policymaker").who == "policymaker"


def test_a_name_that_no_record_holds_is_refused():
    with pytest.raises(ConfigError, match="the name of who acts, is not in UTF-8"):
        _ = Settings(actor="jos\udce9").who
