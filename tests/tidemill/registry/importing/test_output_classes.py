"""Which class each output means: by name, or as --classes says."""

import shlex

import pytest

from tidemill.errors import DataError, UsageError
from tidemill.registry.importing.foreign_model import ForeignModel
from tidemill.registry.importing.import_checks import check_output
from tidemill.registry.importing.output_classes import output_places, read_classes
from tidemill.tasks.binary import Binary
from tidemill.tasks.multiclass import Multiclass

UNNAMED = ForeignModel("ONNX", print, print)


@pytest.mark.parametrize("names", [("a, b", 'say "c"', "d"), (" a", "b ", "c"), ("it's", "$b", "c,")])
def test_the_hint_of_a_refusal_is_read_back_as_the_same_classes(names):
    with pytest.raises(UsageError, match="--classes is required") as refused:
        output_places(UNNAMED, (), Multiclass("", classes=names), "tidemill models import m.onnx")
    _, _, command = refused.value.hint.partition("outputs: ")
    words = shlex.split(command.removesuffix(" (or another order)"))
    assert words[:5] == ["tidemill", "models", "import", "m.onnx", "--classes"]
    assert read_classes(words[5]) == names
    places = output_places(UNNAMED, read_classes(words[5])[::-1], Multiclass("", classes=names))
    assert places == (2, 1, 0)


@pytest.mark.parametrize(
    "task",
    [
        Binary(""),
        Binary("", classes=("false", "true")),
        Binary("", classes=("False", "True")),
        Multiclass("", classes=("0", "1", "2")),
    ],
)
def test_classes_that_are_their_own_positions_need_no_names(task):
    assert output_places(UNNAMED, (), task) == ()


@pytest.mark.parametrize(
    "task",
    [
        Binary("", classes=("1", "0")),
        Binary("", classes=("true", "false")),
        Binary("", classes=("no", "yes")),
        Multiclass("", classes=("1", "2", "3")),
        Multiclass("", classes=("2", "0", "1")),
    ],
)
def test_other_classes_need_names(task):
    with pytest.raises(UsageError, match="does not store the names of its classes"):
        output_places(UNNAMED, (), task)


def test_what_is_no_line_of_names():
    assert read_classes("") == ()
    assert output_places(UNNAMED, read_classes("yes , no"), Binary("", classes=("no", "yes"))) == (1, 0)
    with pytest.raises(UsageError, match="no line of CSV"):
        read_classes('"a,b')
    with pytest.raises(UsageError, match="several lines"):
        read_classes("a\nb")
    with pytest.raises(DataError, match="none of the project's: no, yes"):
        output_places(UNNAMED, ("no", ""), Binary("", classes=("no", "yes")))


def test_a_model_of_more_outputs_than_classes_are_named_says_how_to_name_them():
    output, task = [[0.1, 0.2, 0.3, 0.4]] * 3, Multiclass("", classes=("a", "b", "c", "d"))
    check_output(output, 3, task, output_places(UNNAMED, ("d", "c", "b", "a"), task))
    with pytest.raises(
        DataError, match="gives 4 numbers a row, and its classes are said to be a, b:"
    ) as error:
        check_output(output, 3, task, output_places(UNNAMED, ("a", "b"), task))
    assert error.value.hint.endswith("by --classes; the project has a, b, c, d")
    with pytest.raises(DataError, match="gives 4 numbers a row") as error:
        check_output(output, 3, Multiclass("", classes=("a", "b", "c")), ())
    assert error.value.hint.startswith("import it into a project with a class for each output")
