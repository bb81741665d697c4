from tidemill.features.online.view_values import _Served


def test_what_is_served_of_a_view_of_several_types_is_floats():
    served = _Served("gate", ["wind", "open", "queue"], [("gate", n) for n in ("wind", "open", "queue")], {})
    for raw in ([0.5, True, 7], [0.5, None, float("nan")]):
        known = served.known(0, raw)
        assert all(value is None or type(value) is float for value in known.served)
    assert known.served == (0.5, None, None)
    assert served.known(0, [0.5, True, 7]).served == (0.5, 1.0, 7.0)
