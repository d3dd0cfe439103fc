import numpy as np
import pytest


@pytest.fixture(scope="package")
def crops():
    """48 images of 8 colours on 2 cameras, three each; their cameras, and whose they are."""
    generator = np.random.default_rng(0)
    colours = generator.integers(30, 226, (8, 1, 1, 3))
    noise = generator.integers(-30, 31, (8, 6, 32, 16, 3))
    images = (colours[:, None] + noise).clip(0, 255).astype(np.uint8).reshape(48, 32, 16, 3)
    return images, np.tile(np.int16([0, 0, 0, 1, 1, 1]), 8), np.repeat(np.int32(range(8)), 6)
