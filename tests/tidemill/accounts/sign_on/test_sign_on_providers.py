import pytest

from tidemill.accounts.sign_on.sign_on_providers import Provider, SignOn, client_secret, read_sign_on
from tidemill.errors import ConfigError

RIGHT = """
address: https://tidemill.example.com
providers:
  corp:
    label: Corp
    issuer: https://login.example.com
    client_id: tidemill
    client_secret_env: CORP_SECRET
    groups:
      ml: {flights: ml-engineer, "*": viewer}
"""


def read(tmp_path, text: str) -> SignOn:
    path = tmp_path / "oidc.yaml"
    path.write_text(text)
    return read_sign_on(str(path))


def test_a_file_declares_providers(tmp_path):
    corp = read(tmp_path, RIGHT).providers["corp"]
    assert corp.groups["ml"] == {"flights": "ml-engineer", "*": "viewer"}
    assert corp.verified_email
    assert read_sign_on(None).providers == {}


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("label: Corp", "label: Corp\n    lable: C", "lable"),
        ("https://login", "http://login", "https://"),
        ("ml-engineer", "owner", "ml-engineer"),
        ("corp:", "Corp!:", "cannot name a provider"),
        ("client_id: tidemill", "scopes: [email]\n    client_id: tidemill", "openid"),
        ("client_id: tidemill", "client_secret_file: x\n    client_id: tidemill", "not both"),
    ],
)
def test_a_wrong_file_is_refused_with_what_is_wrong(tmp_path, before, after, said):
    with pytest.raises(ConfigError, match=said):
        read(tmp_path, RIGHT.replace(before, after, 1))


def test_a_missing_file_and_a_missing_secret_are_said(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        read_sign_on(str(tmp_path / "none.yaml"))
    corp: Provider = read(tmp_path, RIGHT).providers["corp"]
    with pytest.raises(ConfigError, match="CORP_SECRET is not set"):
        client_secret(corp, {})
    secret = client_secret(corp, {"CORP_SECRET": "s"})
    assert secret is not None
    assert secret.get_secret_value() == "s"
    assert "'s'" not in repr(secret)
