"""Which trials a search makes, by each of its kinds: without a trial."""

import pytest
from ray import tune

from tidemill.errors import ConfigError
from tidemill.project.project_config import ProjectConfig
from tidemill.project.train_config import TrainConfig
from tidemill.training.model_spec import Family, OnlyIf, TrainingSpec
from tidemill.training.search.parameter_spaces import params_at, point_of
from tidemill.training.search.planned_search import check_plan
from tidemill.training.search.proposals import Proposals
from tidemill.training.search.search_plan import FULL_SEARCH, Basis, SearchPlan, narrowed

SVM = Family(
    "svm",
    {
        "kernel": tune.choice(["poly", "rbf"]),
        "degree": OnlyIf("kernel", ("poly",), tune.randint(2, 5)),
        "gamma": OnlyIf("kernel", ("rbf",), tune.loguniform(0.01, 1.0)),
        "layers": tune.choice([(8,), (8, 8)]),
    },
    iter,
    rounds=4,
)
LINE = Family("line", {"c": tune.loguniform(0.01, 10.0), "fixed": 3}, iter, rounds=2)
SPEC = TrainingSpec((SVM, LINE))


def value(proposed):
    return proposed.params.get("gamma", 0.5) - abs(proposed.params.get("c", 0.1) - 0.1)


def searched(proposals, numbers):
    found = []
    for number in numbers:
        proposed = proposals.propose(number)
        proposals.tell(number, None if number == 3 else (value(proposed),))
        found.append(proposed)
    return found


def config(**given):
    return TrainConfig(**{"trials": 24, "search": "tpe", **given})


@pytest.mark.parametrize("search", ["random", "grid", "tpe"])
def test_a_parameter_that_depends_on_another_is_there_where_it_counts(search):
    proposals = Proposals(SPEC, config(search=search, trials=24))
    drawn = searched(proposals, range(proposals.total))
    kernels = {one.params["kernel"] for one in drawn if one.family == "svm"}
    assert kernels == {"poly", "rbf"}
    for one in (one for one in drawn if one.family == "svm"):
        assert ("degree" in one.params, "gamma" in one.params) == (
            one.params["kernel"] == "poly",
            one.params["kernel"] == "rbf",
        )
        assert params_at(SVM, point_of(SVM, one.params)) == one.params
    assert narrowed(SVM, {"kernel": "rbf", "gamma": 0.1}).space["gamma"].domain.upper < 0.3


def test_a_condition_on_what_the_space_does_not_name_is_refused():
    with pytest.raises(ValueError, match="degree exists only for values of 'kernel', which"):
        Family("svm", {"degree": OnlyIf("kernel", ("poly",), 3)}, iter, rounds=1)
    with pytest.raises(ValueError, match=r"the values of 'kernel' must be a tuple: \('poly',\)"):
        OnlyIf("kernel", "poly", 3)
    with pytest.raises(ValueError, match="of one other only, here of 'kernel'"):
        OnlyIf("kernel", ("poly",), OnlyIf("shape", (1,), 3))
    with pytest.raises(ValueError, match=r"c is a grid_search: write tune\.choice"):
        Family("svm", {"c": tune.grid_search([1, 2])}, iter, rounds=1)


@pytest.mark.parametrize("domain", [tune.qlograndint(1, 100, 10), tune.qloguniform(0.01, 1.0, 0.01)])
def test_steps_of_a_logarithm_are_refused_by_name(domain):
    spec = TrainingSpec((Family("svm", {"c": domain}, iter, rounds=1),))
    with pytest.raises(ConfigError, match=r"'svm': parameter c .* only a random search can"):
        Proposals(spec, config(search="tpe"))


def test_a_grid_has_all_its_points_or_says_how_many_it_would_have():
    proposals = Proposals(SPEC, config(search="grid", trials=15))
    found = [proposals.propose(number) for number in range(proposals.total)]
    assert proposals.total == len({repr(one.params) for one in found}) == 2 * (3 + 3) + 3
    with pytest.raises(ConfigError, match=r"more than the 14 of train\.trials: svm 12, line 3"):
        Proposals(SPEC, config(search="grid", trials=14))
    endless = TrainingSpec((Family("normal", {"c": tune.randn(0, 1)}, iter, rounds=1),))
    with pytest.raises(ConfigError, match=r"'normal': parameter c .* has no ends for a grid"):
        Proposals(endless, config(search="grid"))
    with pytest.raises(ConfigError, match=r"'normal': parameter c .* only a random search can"):
        Proposals(endless, config(search="tpe"))


def test_a_plan_is_checked_by_what_it_will_search():
    near = Basis("line", {"c": 1.0}, 2)
    grid = config(search="grid", trials=9)  # near a basis three of them are made: enough for a line
    check_plan(SearchPlan("narrow", basis=near), SPEC, grid)
    check_plan(SearchPlan("same", basis=near), SPEC, config(search="grid", trials=1))
    with pytest.raises(ConfigError, match="makes more than the 2"):
        check_plan(SearchPlan("narrow", basis=near), SPEC, config(search="grid", trials=6))
    for gone in (None, Basis("forest", {}, 1)):  # then everything is searched
        with pytest.raises(ConfigError, match="makes more than the 9"):
            check_plan(SearchPlan("narrow", basis=gone), SPEC, grid)
    with pytest.raises(ConfigError, match="'svm' cannot be trained so: it has no steps"):
        check_plan(FULL_SEARCH, SPEC, config(search="random", scheduler="pbt"))


def test_a_sampler_learns_from_what_trials_gave():
    found = searched(Proposals(TrainingSpec((LINE,)), config(trials=40)), range(40))
    early, late = ([abs(one.params["c"] - 0.1) for one in some] for some in (found[:10], found[30:]))
    assert sorted(late)[5] < sorted(early)[5] / 2


@pytest.mark.parametrize("metrics", [(), ("roc_auc", "accuracy")])
def test_a_search_that_is_gone_on_with_chooses_as_it_would_have(metrics):
    given = config(metrics=metrics, warm_start=1)
    first = [("line", {"c": 5.0, "fixed": 3})]

    def tell(proposals, proposed):
        values = (value(proposed),) * (len(metrics) or 1)
        proposals.tell(proposed.number, None if proposed.number == 3 else values)

    whole, again = Proposals(SPEC, given, first), Proposals(SPEC, given, first)
    found = []
    for number in range(24):
        found.append(whole.propose(number))
        tell(whole, found[-1])
    assert found[1].params == {"c": 5.0, "fixed": 3}
    for one in found[:14]:
        again.remember(one.number, one.family, dict(one.params))
        assert again.propose(one.number) == one
        tell(again, one)
    rest = []
    for number in range(14, 24):
        rest.append(again.propose(number))
        tell(again, rest[-1])
    assert rest == found[14:]


def project(**train):
    return ProjectConfig.model_validate(
        {
            "project": {"name": "a", "model": "a", "training": "a:b", "application": "a:b"},
            "dataset": {"path": "a", "label": "late"},
            "features": {"service": "a"},
            "train": train,
        }
    )


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"scheduler": "pbt", "search": "tpe"}, "pbt: train.search tpe chooses trials by those that ended"),
        ({"scheduler": "pbt", "max_concurrent": 1}, "pbt: train.max_concurrent cannot be kept"),
        ({"scheduler": "pbt", "workers": 2}, "pbt: several workers"),
        ({"metric": "f1", "metrics": ["roc_auc", "f1"]}, "the first decides"),
        ({"metrics": ["roc_auc", "auc"]}, "names a metric twice"),
        ({"metrics": ["roc_auc", "recall_at_precision_90"]}, "computed only as the first"),
        ({"metrics": ["roc_auc", "r2"]}, "binary has no metric 'r2'"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(train, message):
    with pytest.raises(ValueError, match=message):
        project(**train)


def test_the_first_of_several_metrics_decides():
    found = project(metrics=["f1", "accuracy"])
    assert (found.train.metric, found.gate.metric) == ("f1", "f1")
