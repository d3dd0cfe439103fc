"""Heat-maps as pictures: bright where the map is high, of the picture's size."""

import numpy as np

from reidlib.report.heat import heated


def test_bright_where_the_map_is_high():
    grey = np.full((40, 20, 3), 128, np.uint8)
    map_ = np.array([[0, 0], [0, 1]], np.float32)
    found = heated(grey, map_, ends=(0.0, 1.0)).astype(int).sum(axis=2)
    assert found.shape == (40, 20) and found[35, 17] > found[5, 3] + 200
    assert np.unique(heated(grey, np.zeros((2, 2), np.float32), ends=(0.0, 0.0)).reshape(-1, 3), axis=0).shape == (1, 3)
    grey[:, :10] = 0
    assert (np.diff(heated(grey, map_ * 0, ends=(0.0, 1.0)).astype(int).sum(axis=2)[0, [2, 17]]) > 50).all()
