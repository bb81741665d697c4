"""skops without what its lists of trusted types would import along with them."""

import json
import subprocess
import sys

import pytest

NOT_NEEDED = "torch", "dask", "cupy", "pytest"
LAZY = (
    "import sys, types; lazy = types.ModuleType('lazy'); lazy.__getattr__ = lambda name: asked.append(name);"
)
"""A module that says what it is asked for; the first of all, as modules are asked in this order."""


@pytest.mark.slow
def test_it_trusts_the_same_types_imports_no_other_engine_and_asks_no_module_for_names_of_others():
    code = (
        f"{LAZY} asked = []; sys.modules['lazy'] = lazy;"
        "{ours}import json, skops.io._trusted_types as known, skops.io._utils as utils;"
        f"others = [name for name in {NOT_NEEDED} if name in sys.modules];"
        "types = {{name: value for name, value in vars(known).items() if name.endswith('_TYPE_NAMES')}};"
        "print(json.dumps([others, len({{*asked}}), utils.whichmodule.__module__, types]))"
    )
    (*lean, trusted), (*whole, expected) = (
        json.loads(
            subprocess.run(
                [sys.executable, "-c", code.format(ours=ours)], capture_output=True, text=True, check=True
            ).stdout
        )
        for ours in ("import tidemill.training.fitting.private_skops;", "")
    )
    assert trusted == expected
    assert lean[0] == []
    assert whole[1] > 100 > 10 > lean[1]
    assert lean[2] == whole[2] == "skops.io._utils"
    assert len(expected["SKLEARN_ESTIMATOR_TYPE_NAMES"]) > 100
    assert len(expected["SCIPY_UFUNC_TYPE_NAMES"]) > 100
