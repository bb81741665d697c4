"""skops without what scikit-learn's list of estimators would import along with it."""

import subprocess
import sys

import pytest

NOT_NEEDED = "torch", "dask", "cupy"


@pytest.mark.slow
def test_it_trusts_the_same_estimators_and_imports_no_other_engine():
    code = (
        "import sys; {ours}import skops.io._trusted_types as known;"
        f"print([name for name in {NOT_NEEDED} if name in sys.modules]);"
        "print(len(known.SKLEARN_ESTIMATOR_TYPE_NAMES))"
    )
    lean, whole = (
        subprocess.run(
            [sys.executable, "-c", code.format(ours=ours)], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        for ours in ("import tidemill.training.fitting.private_skops;", "")
    )
    assert lean == ["[]", whole[1]]
    assert int(whole[1]) > 100
