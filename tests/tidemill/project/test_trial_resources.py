"""What a trial may ask Ray for."""

import pytest
from pydantic import ValidationError

from tidemill.project.trial_resources import TrialResources


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"gpus": 1.5}, "a part of one GPU, or whole ones"),
        ({"gpus": -1}, "greater than or equal to 0"),
        ({"cpus": 0}, "greater than 0"),
        ({"accelerator": "A100"}, "say in gpus how many"),
        ({"gpu": 1}, "Extra inputs"),
    ],
)
def test_what_ray_could_not_give_is_refused(given: dict[str, object], said: str):
    with pytest.raises(ValidationError, match=said):
        TrialResources.model_validate(given)


def test_without_the_section_a_trial_has_one_cpu_also_beside_gpus():
    assert TrialResources().on({"CPU": 4.0, "GPU": 2.0}) == {"cpu": 1.0}
    assert TrialResources().note({"CPU": 4.0}) is None
    assert TrialResources(gpus=2).at_once({"CPU": 4.0, "GPU": 1.0}) == 1, "it waits for a larger node"
