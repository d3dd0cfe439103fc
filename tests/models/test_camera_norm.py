"""TNorm against loops over cameras and images in numpy."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from reidlib.models.backbones import backbone
from reidlib.models.camera_norm import (
    STAY,
    CameraNorm,
    add_camera_norm,
    batch_conversions,
    conversions,
    set_cameras,
)

CAMERAS = torch.tensor([2, 0, 0, 2, 0])


def maps(step: int = 0, count: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(step)
    offsets = torch.arange(count).view(-1, 1, 1, 1)
    return torch.randn(count, 3, 4, 2, generator=generator) * (1 + offsets) + offsets + 5 * step


def norm_of_two_batches(cameras: int = 3) -> CameraNorm:
    norm = CameraNorm(3, cameras)
    for step in range(2):
        set_cameras(norm, torch.arange(2 * cameras) % cameras)
        norm(maps(step, 2 * cameras))
    return norm


def test_statistics_are_those_of_a_loop_over_cameras():
    norm = CameraNorm(3, 4)
    kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for step, cameras in enumerate((CAMERAS, CAMERAS + 1, CAMERAS)):
        set_cameras(norm, cameras)
        batch = maps(step)
        assert norm(batch) is batch
        for camera in np.unique(cameras):
            part = batch.double().numpy()[cameras.numpy() == camera]
            new = part.mean((0, 2, 3)), part.var((0, 2, 3))
            old = kept.get(int(camera), new)
            kept[int(camera)] = tuple(0.9 * a + 0.1 * b for a, b in zip(old, new, strict=True))
    for camera in range(4):
        assert norm.seen[camera] == (camera in kept)
        mean, variance = kept.get(camera, (np.zeros(3), np.ones(3)))
        np.testing.assert_allclose(norm.mean[camera], mean, rtol=1e-5)
        np.testing.assert_allclose(norm.variance[camera], variance, rtol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_conversion_is_that_of_a_loop_over_images(training):
    norm = norm_of_two_batches().train(training)
    before = copy.deepcopy(norm.state_dict())
    target = torch.tensor([0, 0, 1, 1, 2])
    set_cameras(norm, CAMERAS, target)
    batch = maps(7)
    found = norm(batch)
    for image, out, a, b in zip(batch, found, CAMERAS.tolist(), target.tolist(), strict=True):
        if a == b:
            assert torch.equal(out, image)
            continue
        for channel in range(3):
            mean, std = norm.mean[:, channel].numpy(), np.sqrt(norm.variance[:, channel].numpy() + 1e-5)
            expected = (image[channel].numpy() - mean[a]) / std[a] * std[b] + mean[b]
            np.testing.assert_allclose(out[channel], expected, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())


def test_there_and_back_is_the_identity():
    norm, other = norm_of_two_batches(), torch.tensor([0, 1, 2, 1, 1])
    set_cameras(norm, CAMERAS, other)
    converted = norm(maps())
    assert not torch.allclose(converted, maps())
    set_cameras(norm, other, CAMERAS)
    torch.testing.assert_close(norm(converted), maps(), rtol=1e-4, atol=1e-4)


def test_without_cameras_or_in_evaluation_nothing_happens():
    norm = norm_of_two_batches()
    before = copy.deepcopy(norm.state_dict())
    set_cameras(norm, None)
    assert torch.equal(norm(maps()), maps())
    set_cameras(norm.eval(), CAMERAS)
    assert torch.equal(norm(maps()), maps())
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())


def test_cameras_without_statistics_leave_images_as_they_are():
    norm = CameraNorm(3, 4)
    set_cameras(norm, CAMERAS)
    norm(maps())
    set_cameras(norm, torch.tensor([1, 0, 0, 2, 3]), torch.tensor([0, 1, 2, 0, 3]))
    assert (norm(maps()) == maps()).flatten(1).all(1).tolist() == [True, True, False, False, True]


def test_gradients_go_through_the_maps_alone():
    norm, target = norm_of_two_batches().double(), torch.tensor([0, 0, 1, 1, 2])
    assert not any(value.requires_grad for value in norm.buffers())
    set_cameras(norm, CAMERAS, target)
    batch = maps().double().requires_grad_()
    assert torch.autograd.gradcheck(norm, (batch,))
    found = norm(batch)
    std = (norm.variance + 1e-5).sqrt()
    scale = torch.where((target == CAMERAS)[:, None], 1.0, std[target] / std[CAMERAS])
    set_cameras(norm, CAMERAS)
    norm(maps(3).double().requires_grad_())  # moves the statistics between forward and backward
    assert not norm.mean.requires_grad and not torch.equal(norm.variance.sqrt(), std)
    found.sum().backward()
    torch.testing.assert_close(batch.grad, scale[:, :, None, None].expand_as(batch))


def test_statistics_are_in_float32_inside_autocast():
    norm, twin = CameraNorm(3, 3), CameraNorm(3, 3)
    batch = (maps() + 100).bfloat16()
    for module in (norm, twin):
        set_cameras(module, CAMERAS)
    with torch.autocast("cpu", torch.bfloat16):
        norm(batch)
        twin(batch.float())
        assert torch.equal(norm.variance, twin.variance) and norm.variance.dtype == torch.float32
        set_cameras(norm, CAMERAS, torch.zeros(5, dtype=torch.int64))
        set_cameras(twin, CAMERAS, torch.zeros(5, dtype=torch.int64))
        assert norm(batch).dtype == torch.bfloat16
        assert torch.equal(norm(batch), twin(batch.float()).bfloat16())


def test_two_runs_a_copy_and_a_state_dict_are_equal():
    first, second = norm_of_two_batches(), norm_of_two_batches()
    third = CameraNorm(3, 3)
    third.load_state_dict(copy.deepcopy(first).state_dict())
    for other in (second, third, copy.deepcopy(first)):
        assert all(torch.equal(value, other.state_dict()[name]) for name, value in first.state_dict().items())
    assert list(first.state_dict()) == ["mean", "variance", "seen"]


def test_behind_a_stage_of_a_network():
    network, _ = backbone("resnet18_half")
    before = set(network.state_dict())
    add_camera_norm(network, after="layer2", cameras=3)
    assert network.added_prefixes == ("layer2.2.",)
    assert set(network.state_dict()) - before == {"layer2.2.mean", "layer2.2.variance", "layer2.2.seen"}
    assert network.layer2[2].mean.shape == (3, 64) and not network.layer2[2].seen.any()
    images = torch.randn(5, 3, 64, 32)
    set_cameras(network, CAMERAS)
    plain = network(images)
    assert network.layer2[2].seen.tolist() == [True, False, True]
    set_cameras(network, CAMERAS, CAMERAS)
    torch.testing.assert_close(network(images), plain)
    set_cameras(network, CAMERAS, 2 - CAMERAS)
    assert not torch.allclose(network(images), plain)
    set_cameras(network, None)
    torch.testing.assert_close(network(images), plain)
    with pytest.raises(ValueError, match="found 'layer9'"):
        add_camera_norm(network, after="layer9", cameras=3)


def test_conversions_are_other_cameras_half_the_time():
    cameras = np.arange(6000) % 4
    drawn, again = (conversions(cameras, 4, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(drawn, again)
    assert not np.array_equal(drawn, conversions(cameras, 4, np.random.default_rng(6)))
    shares = np.zeros((4, 4))
    np.add.at(shares, (cameras, drawn), 1 / 1500)
    np.testing.assert_allclose(shares, 1 / 6 + np.eye(4) / 3, atol=0.05)
    assert np.array_equal(conversions(cameras * 0, 1, np.random.default_rng(0)), cameras * 0)


def test_wrong_cameras_are_refused():
    norm = nn.Sequential(norm_of_two_batches())
    with pytest.raises(ValueError, match=r"cameras 0 to 2, found \[0, 3\]"):
        set_cameras(norm, torch.tensor([3, 0]))
    with pytest.raises(ValueError, match=r"found \[-1, 0\]"):
        set_cameras(norm, torch.tensor([0, 0]), torch.tensor([0, -1]))
    set_cameras(norm, torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="expected 5 cameras, one to an image; found 2"):
        norm(maps())


def loop_by_batch(kept, batch, cameras, target):
    """The published way, image by image in numpy: (statistics afterwards, what is returned)."""
    batch, returned, after = batch.double().numpy(), [], dict(kept)
    for image, camera, wanted in zip(batch, cameras, target, strict=True):
        own = batch[[other == camera for other in cameras]]
        mean, variance = own.mean((0, 2, 3)), own.var((0, 2, 3))
        if wanted == STAY or wanted not in kept:
            returned.append(image)
        else:
            other, spread = (value[:, None, None] for value in kept[wanted])
            plain = (image - mean[:, None, None]) / np.sqrt(variance[:, None, None] + 1e-5)
            returned.append(plain * np.sqrt(spread + 1e-5) + other)
        if camera is not None:
            old = kept.get(camera, (mean, variance))
            after[camera] = tuple(0.9 * a + 0.1 * b for a, b in zip(old, (mean, variance), strict=True))
    return after, np.stack(returned)


def test_by_batch_is_that_of_a_loop_over_images_and_learns_of_every_view():
    norm, kept = CameraNorm(3, 4, by="batch"), {}
    cameras = [0, 0, 2, 2, 1]
    plans = [[STAY] * 5, [1, 0, STAY, STAY, 3], [2, 1, 0, 2, STAY]]  # camera 3 is never seen
    for step, target in enumerate(plans):
        batch = maps(step)
        set_cameras(norm, torch.tensor(cameras), torch.tensor(target) if step else None)
        found = norm(batch)
        kept, expected = loop_by_batch(kept, batch, cameras, target)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
        for camera, (mean, variance) in kept.items():
            np.testing.assert_allclose(norm.mean[camera], mean, rtol=1e-4)
            np.testing.assert_allclose(norm.variance[camera], variance, rtol=1e-4)
    assert norm.seen.tolist() == [True, True, True, False]


def test_by_batch_without_cameras_takes_the_whole_batch_and_learns_nothing():
    norm, kept = CameraNorm(3, 2, by="batch"), {}
    set_cameras(norm, torch.tensor([0, 0, 1, 1, 1]))
    norm(maps())
    for camera, rows in ((0, slice(0, 2)), (1, slice(2, 5))):
        part = maps().double().numpy()[rows]
        kept[camera] = part.mean((0, 2, 3)), part.var((0, 2, 3))
    before = copy.deepcopy(norm.state_dict())
    target = [1, STAY, 0, 1, 0]
    set_cameras(norm, None, torch.tensor(target))
    found = norm(maps(5))
    expected = loop_by_batch(kept, maps(5), [None] * 5, target)[1]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())


def test_by_batch_no_gradient_goes_through_statistics_and_evaluation_takes_the_running_ones():
    norm, twin = (CameraNorm(3, 3, by=by) for by in ("batch", "image"))
    for each in (norm, twin):
        set_cameras(each, CAMERAS)
        each(maps())
    set_cameras(norm, CAMERAS, torch.tensor([0, STAY, 2, 0, 2]))
    batch = maps(2).requires_grad_()
    found = norm(batch)
    found.sum().backward()
    scales = batch.grad[:, :, 0, 0]
    torch.testing.assert_close(batch.grad, scales[:, :, None, None].expand_as(batch))
    torch.testing.assert_close(scales[1], torch.ones(3))
    twin.load_state_dict(norm.state_dict())
    for each in (norm.eval(), twin.eval()):
        set_cameras(each, CAMERAS, torch.tensor([0, 2, 2, 0, 0]))
    torch.testing.assert_close(norm(maps(4)), twin(maps(4)))


def test_cameras_convert_together_by_batch_to_any_camera():
    cameras = np.arange(6000) % 3
    drawn = batch_conversions(cameras, 6000, 4, np.random.default_rng(2))
    assert np.array_equal(drawn, batch_conversions(cameras, 6000, 4, np.random.default_rng(2)))
    stayed, together = set(), []
    for seed in range(40):
        found = batch_conversions(cameras, 6000, 4, np.random.default_rng(seed))
        for camera in range(3):
            own = found[cameras == camera]
            assert (own == STAY).all() or set(own) == {0, 1, 2, 3}
            stayed.add((camera, bool((own == STAY).all())))
        whole = batch_conversions(None, 6000, 4, np.random.default_rng(seed))
        together.append(bool((whole == STAY).all()))
        assert together[-1] or np.bincount(whole, minlength=4).min() > 1300
    assert len(stayed) == 6 and 10 < sum(together) < 30


def test_by_batch_refuses_what_is_no_camera():
    norm = nn.Sequential(CameraNorm(3, 3, by="batch"))
    set_cameras(norm, torch.tensor([0, 1]), torch.tensor([STAY, 2]))
    for wrong in (torch.tensor([0, -2]), torch.tensor([0, 3])):
        with pytest.raises(ValueError, match="cameras 0 to 2"):
            set_cameras(norm, torch.tensor([0, 1]), wrong)
    with pytest.raises(ValueError, match="cameras 0 to 2"):
        set_cameras(norm, torch.tensor([0, STAY]))
