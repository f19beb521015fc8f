"""Real models of libraries that need torchvision; see `make test-extras`."""

import numpy as np
import pytest


@pytest.fixture
def picture():
    return np.random.default_rng(0).random((2, 224, 224), np.float32)
