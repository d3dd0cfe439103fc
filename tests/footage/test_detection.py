"""The detector that stands in where there are no boxes: its wiring, by weights that know nothing and by a fake."""

import numpy as np
import pytest
import torch
from torchvision.models import get_model

from reidlib.footage.detection import DETECTOR, detector, found_boxes
from reidlib.footage.video import Video
from tests.films import write_video


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    model = get_model(DETECTOR, weights=None, weights_backbone=None)
    with torch.no_grad():
        model.roi_heads.box_predictor.cls_score.bias[1] += 9.0  # everything is a person
    path = tmp_path_factory.mktemp("weights") / "detector.pth"
    torch.save(model.state_dict(), path)
    return path


def test_boxes_come_as_corner_and_size_within_the_picture(weights, monkeypatch):
    monkeypatch.setattr("reidlib.footage.detection.SHORTER_PX", 128)  # else four seconds a picture
    picture = np.random.default_rng(0).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    boxes = detector("person", weights=weights, device="cpu")(picture)
    assert len(boxes) and boxes.shape[1] == 5
    assert (boxes[:, :2] >= 0).all() and (boxes[:, :2] + boxes[:, 2:4] <= [96.01, 64.01]).all()
    assert (boxes[:, 2:4] > 0).all() and (boxes[:, 4] > 0.05).all()
    assert len(detector("car", weights=weights, device="cpu")(picture)) == 0


def test_what_cannot_be_found_or_loaded_is_told(weights, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"--of: expected one of .*person.*; found 'unicorn'"):
        detector("unicorn")
    (tmp_path / "other.pth").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"other\.pth: expected the weights of .*fetch https://.*pth elsewhere"):
        detector("person", weights=tmp_path / "other.pth")


def test_every_frame_is_looked_at(tmp_path):
    shades = [np.full((64, 96, 3), 10 * number, np.uint8) for number in (0, 10, 20)]

    def bright(pixels):
        return np.array([[1.0, 2, 30, 40, 0.9]]) if pixels.mean() > 50 else np.empty((0, 5))

    table = found_boxes(Video(write_video(tmp_path / "a.mp4", shades)), bright)
    assert table["frame"].tolist() == [2, 3] and (table["track"] == -1).all()
    assert table[["x", "y", "width", "height", "score"]].iloc[0].tolist() == [1, 2, 30, 40, 0.9]
