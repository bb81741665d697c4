from tidemill.features.online.served_types import as_list
from tidemill.features.online.view_values import _Served


def test_what_is_served_of_a_view_of_several_types_is_floats():
    served = _Served("gate", ["wind", "open", "queue"], [("gate", n) for n in ("wind", "open", "queue")], {})
    for raw in ([0.5, True, 7], [0.5, None, float("nan")]):
        known = served.known(0, raw)
        assert all(value is None or type(value) is float for value in known.served)
    assert known.served == (0.5, None, None)
    assert served.known(0, [0.5, True, 7]).served == (0.5, 1.0, 7.0)


def test_infinite_values_of_the_store_count_as_missing_and_are_flagged():
    names = ("wind", "rain", "e")
    features = [("gate", name) for name in names]
    served = _Served("gate", names, features, {"rain": 0.0}, {"e": as_list})
    known = served.known(0, [float("inf"), -float("inf"), [1.0, float("inf")]])
    assert repr(known.served) == "(None, 0.0, (1.0, nan))"  # as in training
    assert known.flags == ("infinite:e", "infinite:wind", "infinite:rain", "default:rain")
    nothing = served.known(0, [1.0, 1.0, [float("nan"), None]])
    assert (nothing.served, nothing.flags) == ((1.0, 1.0, None), ())
    numbers = _Served("gate", names[:2], features[:2], {})
    assert numbers.known(0, [float("inf"), 1.0])[2:] == ((None, 1.0), ("infinite:wind",))
