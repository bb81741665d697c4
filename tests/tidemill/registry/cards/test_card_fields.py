import pytest

from tidemill.errors import ConfigError
from tidemill.registry.cards.card_fields import read_fields


def test_what_is_left_out_or_blank_is_not_filled_in(tmp_path):
    assert set(read_fields(tmp_path).model_dump().values()) == {None}
    (tmp_path / "card.yaml").write_text("owner: ' Ada '\nrisk: ''\nkpi:\n")
    said = read_fields(tmp_path)
    assert (said.owner, said.risk, said.kpi, said.purpose) == ("Ada", None, None, None)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("owner: Ada\npurpos: none\n", r"purpos: there is no such field; is 'purpose' meant\? \(line 2\)"),
        ("owner: Ada\n\nrisk: 3\n", r"risk: must be text, not 3 \(line 3\)"),
        ("- owner\n", "must be a mapping"),
        ("owner: a\nowner: b\n", "line 2.*stands twice"),
    ],
)
def test_an_unknown_key_or_a_wrong_value_is_refused_with_its_line(tmp_path, text, told):
    (tmp_path / "card.yaml").write_text(text)
    with pytest.raises(ConfigError, match=told):
        read_fields(tmp_path)
