"""State saved at any position, restored into a fresh pipeline, gives the same remaining elements."""

import numpy as np
import pytest
from dataset_pipelines import PIPELINES, check_resume, same_all, take

from lamina.datasets import Options


@pytest.mark.parametrize("name", PIPELINES)
def test_resume_at_every_position(name):
    seen = check_resume(PIPELINES[name])
    assert seen or name == "repeat_nothing"


@pytest.mark.parametrize("name", PIPELINES)
def test_planning_does_not_change_the_elements(name):
    np.random.seed(0)
    planned = take(iter(PIPELINES[name]()), 40)
    np.random.seed(0)
    options = Options()
    options.planning = False
    unplanned = take(iter(PIPELINES[name]().with_options(options)), 40)
    assert same_all(planned, unplanned)
