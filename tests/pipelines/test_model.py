import numpy as np
import pandas as pd
import pytest
import skops.io

from pipelines.model import spec
from tidemill.training.fitting.trusted_types import untrusted

pytestmark = pytest.mark.engine

PARAMS = {
    "boosting": {
        "learning_rate": 0.1,
        "max_leaf_nodes": 15,
        "min_samples_leaf": 50,
        "l2_regularization": 1.0,
        "max_features": 0.5,
    },
    "linear": {"alpha": 1e-3, "penalty": "l2"},
}


@pytest.fixture(scope="module")
def rows():
    random = np.random.default_rng(0)
    features = pd.DataFrame(random.normal(size=(3000, 4)), columns=list("abcd"))
    labels = pd.Series((features["a"] + random.normal(size=3000) > 0.5).astype(int))
    features.loc[::3, "b"] = np.nan
    return features, labels


@pytest.mark.parametrize("family", spec.families, ids=lambda family: family.name)
def test_a_family_fits_round_by_round_and_again_the_same(family, rows):
    assert set(PARAMS[family.name]) == set(family.space)
    scores = [
        [model.predict_proba(rows[0])[:, 1] for model in family.fit(PARAMS[family.name], *rows)]
        for _ in range(2)
    ]
    assert len(scores[0]) == family.rounds
    assert np.array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0][0], scores[0][-1])
    late = rows[1] == 1
    assert scores[0][-1][late].mean() > scores[0][-1][~late].mean() + 0.1


@pytest.mark.parametrize("family", spec.families, ids=lambda family: family.name)
def test_a_model_is_saved_without_code_of_unknown_origin(family, rows):
    *_, model = family.fit(PARAMS[family.name], *rows)
    saved = skops.io.dumps(model)
    types = skops.io.get_untrusted_types(data=saved)
    assert untrusted(types, spec.trusted_types) == []
    loaded = skops.io.loads(saved, trusted=types)
    assert np.array_equal(loaded.predict_proba(rows[0]), model.predict_proba(rows[0]))


@pytest.mark.parametrize("family", spec.families, ids=lambda family: family.name)
def test_a_feature_that_was_never_known_does_no_harm(family, rows):
    features, labels = rows
    *_, model = family.fit(PARAMS[family.name], features.assign(c=np.nan), labels)
    probabilities = model.predict_proba(features)
    assert probabilities.shape == (3000, 2)
    assert np.isfinite(probabilities).all()
    if family.name == "boosting":
        skops_types = skops.io.get_untrusted_types(data=skops.io.dumps(model))
        assert untrusted(skops_types, spec.trusted_types) == []
