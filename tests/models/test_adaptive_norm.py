"""AIBN against loops in numpy, against its two extremes, and over two processes against one."""

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributed, nn

from reidlib.models.adaptive_norm import AdaptiveNorm, adapt_norms
from reidlib.models.backbones import backbone
from reidlib.models.camera_norm import CameraNorm, set_cameras
from reidlib.models.grouped_norm import GroupedBatchNorm, group_norms, synchronise_norms


def features(count: int, *positions: int, channels: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    scale = torch.arange(1, count + 1).view(-1, 1, 1, 1)
    return torch.randn(count, channels, *(positions or (4, 3)), generator=generator) * scale + 0.3 * scale


def randomise(norm: nn.Module) -> nn.Module:
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2, generator=torch.Generator().manual_seed(0))
        norm.bias.uniform_(-1, 1, generator=torch.Generator().manual_seed(1))
    return norm


@pytest.mark.parametrize("mix", [0.0, 0.1, 0.8, 1.0])
@pytest.mark.parametrize(("count", "group"), [(12, 4), (8, 8), (5, 8)])
def test_equals_a_loop_over_groups_and_images(count, group, mix):
    norm = randomise(AdaptiveNorm(5, group=group, mix=mix)).double()
    weight, bias = norm.weight.detach().numpy(), norm.bias.detach().numpy()
    mean, variance = np.zeros(5), np.ones(5)

    def normalised(image: np.ndarray, batch_mean: np.ndarray, batch_variance: np.ndarray) -> np.ndarray:
        out = np.empty_like(image)
        for c, values in enumerate(image):
            m = (1 - mix) * values.mean() + mix * batch_mean[c]
            v = (1 - mix) * values.var() + mix * batch_variance[c]
            out[c] = (values - m) / np.sqrt(v + 1e-5) * weight[c] + bias[c]
        return out

    for step in range(3):
        batch = features(count).double() + step
        expected, means, variances = [], [], []
        for start in range(0, count, group):
            part = batch.numpy()[start : start + group]
            expected += [normalised(image, part.mean((0, 2, 3)), part.var((0, 2, 3))) for image in part]
            means.append(part.mean((0, 2, 3)))
            variances.append(part.var((0, 2, 3), ddof=1))
        np.testing.assert_allclose(norm(batch).detach().numpy(), np.stack(expected), rtol=1e-6, atol=1e-7)
        mean, variance = (0.9 * old + 0.1 * np.mean(new, 0) for old, new in ((mean, means), (variance, variances)))
        np.testing.assert_allclose(norm.running_mean.numpy(), mean)
        np.testing.assert_allclose(norm.running_var.numpy(), variance)
    assert norm.num_batches_tracked == 3
    found = norm.eval()(batch).detach().numpy()
    expected = [normalised(image, mean, variance) for image in batch.numpy()]
    np.testing.assert_allclose(found, np.stack(expected), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(norm.running_mean.numpy(), mean)


@pytest.mark.parametrize("training", [True, False])
def test_its_extremes_are_batch_and_instance_normalisation(training):
    batch = features(8)
    whole = randomise(GroupedBatchNorm(5, group=4)).train(training)
    torch.testing.assert_close(randomise(AdaptiveNorm(5, group=4, mix=1.0)).train(training)(batch), whole(batch))
    own = randomise(nn.InstanceNorm2d(5, affine=True)).train(training)
    torch.testing.assert_close(randomise(AdaptiveNorm(5, group=4, mix=0.0)).train(training)(batch), own(batch))


@pytest.mark.parametrize("training", [True, False])
def test_gradients(training):
    norm = randomise(AdaptiveNorm(3, group=2, mix=0.3)).double().train(training)
    batch = features(4, 2, 3, channels=3).double().requires_grad_()

    def function(batch: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return norm(batch)

    assert torch.autograd.gradcheck(function, (batch, norm.weight, norm.bias, norm.mix))


def test_the_mix_starts_at_a_tenth_is_trained_and_kept_in_its_range():
    norm = AdaptiveNorm(5, group=8)
    assert norm.mix.item() == pytest.approx(0.1)
    norm(features(8)).pow(3).sum().backward()
    assert norm.mix.grad.abs() > 0
    for outside, inside in ((-3.0, 0.0), (3.0, 1.0)):
        nn.init.constant_(norm.mix, outside)
        assert torch.equal(norm(features(8)), AdaptiveNorm(5, group=8, mix=inside)(features(8)))


def test_a_map_of_one_position_is_normalised_by_the_batch_alone():
    found = AdaptiveNorm(5, group=8)(features(8, 1, 1))
    assert found.isfinite().all() and found.std() > 0


def test_statistics_are_in_float32_inside_autocast():
    norm = AdaptiveNorm(5, group=8)
    twin = copy.deepcopy(norm)
    batch = (features(8) + 100).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = norm(batch)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, twin(batch.float()).bfloat16())
    assert torch.equal(norm.running_var, twin.running_var) and norm.running_var.dtype == torch.float32


def test_the_last_two_stages_are_adapted_with_their_parameters_and_names():
    network, _ = backbone("resnet18_half")
    network.layer3[0].bn1.eval()
    network.layer4[0].bn1.running_mean.fill_(3)
    before, parameters = network.state_dict(), dict(network.named_parameters())
    assert adapt_norms(network, group=4) is network
    adapted = [name for name, module in network.named_modules() if isinstance(module, AdaptiveNorm)]
    assert len(adapted) == 10 and {name.split(".")[0] for name in adapted} == {"layer3", "layer4"}
    after = network.state_dict()
    assert after.keys() - before.keys() == {f"{name}.mix" for name in adapted}
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert all(value is parameters[name] for name, value in network.named_parameters() if name in parameters)
    assert not network.layer3[0].bn1.training and network.layer3[0].bn2.training
    group_norms(network, group=4)
    assert isinstance(network.layer1[0].bn1, GroupedBatchNorm)
    assert adapted == [name for name, module in network.named_modules() if isinstance(module, AdaptiveNorm)]
    network(torch.randn(8, 3, 64, 32)).sum().backward()
    assert network.layer3[0].bn1.mix.grad is not None


def test_the_whole_network_and_norms_with_an_activation():
    network, _ = backbone("timm/mobilenetv3_small_050")
    plain = copy.deepcopy(network)
    adapt_norms(network, group=4, stages=[""])
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    for module in network.modules():
        if isinstance(module, AdaptiveNorm):
            nn.init.ones_(module.mix)
    images = torch.randn(4, 3, 64, 32)
    torch.testing.assert_close(network(images), plain(images), rtol=1e-3, atol=1e-4)


def test_wrong_values_are_refused():
    with pytest.raises(ValueError, match=r"mix of 0 to 1, got 1\.5"):
        AdaptiveNorm(5, group=4, mix=1.5)
    with pytest.raises(ValueError, match=r"whole groups of 4 samples, .* got 7 samples"):
        AdaptiveNorm(5, group=4)(features(7))
    with pytest.raises(ValueError, match="got shape"):
        AdaptiveNorm(5, group=4)(torch.zeros(4, 5))
    with pytest.raises(ValueError, match=r"layer3, layer4, and this backbone has none in layer3; choose a ResNet"):
        adapt_norms(backbone("timm/convnext_atto")[0], group=4)


def shared_batch(rank: int, size: int) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Return, of several norms, what a process has of outputs and gradients, and what all have alike."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    batch, weights = torch.randn(2, 8, 3, 2, 2, generator=generator, dtype=torch.float64)
    part = slice(rank * 8 // size, (rank + 1) * 8 // size)
    results = []
    for group in (2, 4, 8, 64):
        norm = AdaptiveNorm(3, group=group, mix=0.4).double()
        synchronise_norms(norm, rank=rank, size=size)
        images = batch[part].clone().requires_grad_()
        found = norm(images)
        (found * weights[part]).sum().backward()
        gradients = torch.cat([norm.weight.grad, norm.bias.grad, norm.mix.grad])
        if size > 1:
            distributed.all_reduce(gradients)
        results.append((found.detach(), images.grad, torch.cat([gradients, norm.running_mean, norm.running_var])))
    cameras = CameraNorm(3, 3)
    set_cameras(cameras, torch.tensor([0, 1, 0, 1, 1, 0, 0, 0])[part])
    cameras(batch[part].float())
    results.append((torch.empty(0), torch.empty(0), torch.cat([cameras.mean, cameras.variance]).double()))
    return results


PROCESS = """
import pickle, runpy, sys
from torch import distributed
tests, folder, rank = sys.argv[1], sys.argv[2], int(sys.argv[3])
distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
results = runpy.run_path(tests)["shared_batch"](rank, 2)
with open(f"{folder}/{rank}", "wb") as file:
    pickle.dump(results, file)
distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_are_one(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, __file__, str(tmp_path), rank], env=environment, stderr=subprocess.PIPE
        )
        for rank in ("0", "1")
    ]
    for process in started:
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors.decode()
    first, second = (pickle.loads((tmp_path / name).read_bytes()) for name in ("0", "1"))
    for whole, one, other in zip(shared_batch(0, 1), first, second, strict=True):
        for i in (0, 1):
            torch.testing.assert_close(torch.cat([one[i], other[i]]), whole[i])
        torch.testing.assert_close(one[2], whole[2])
        torch.testing.assert_close(other[2], whole[2])
