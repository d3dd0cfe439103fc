"""Groups normalised in their places against plain batch normalisation of each."""

import pytest
import torch
from torch.nn import functional

from reidlib.models.norm_in_groups import kernels_agree, normalise_groups

FORMATS = [torch.contiguous_format, torch.channels_last]


def one_by_one(features, weight, bias, group):
    """Split, normalise each, join."""
    parts, means, variances = [], [], []
    for part in features.split(group):
        mean, variance = torch.zeros(len(weight), dtype=weight.dtype), torch.ones(len(weight), dtype=weight.dtype)
        parts.append(functional.batch_norm(part, mean, variance, weight, bias, True, 1.0, 1e-5))
        means.append(mean)
        variances.append(variance)
    return torch.cat(parts), torch.stack(means), torch.stack(variances)


def drawn(*shape, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    features = (3 * torch.randn(shape, generator=generator) + 2).to(dtype)
    parameters = [torch.rand(shape[1], generator=generator) + 0.5 for _ in range(2)]
    return features, *(each.to(torch.promote_types(dtype, torch.float32)).requires_grad_() for each in parameters)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_equals_one_group_after_the_other_to_the_bit(dtype, memory_format):
    features, weight, bias = drawn(12, 5, 6, 3, dtype=dtype)
    first, second = (features.clone().contiguous(memory_format=memory_format).requires_grad_() for _ in range(2))
    found, expected = normalise_groups(first, weight, bias, group=4, eps=1e-5), one_by_one(second, weight, bias, 4)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))
    assert found.normalised.is_contiguous(memory_format=memory_format)
    upstream = torch.randn(12, 5, 6, 3).to(dtype).contiguous(memory_format=memory_format)
    ours = torch.autograd.grad(found.normalised, (first, weight, bias), upstream)
    theirs = torch.autograd.grad(expected[0], (second, weight, bias), upstream)
    assert torch.equal(ours[0], theirs[0]) and ours[0].is_contiguous(memory_format=memory_format)
    for mine, other in zip(ours[1:], theirs[1:], strict=True):  # sums over the groups, in another order
        torch.testing.assert_close(mine, other)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gpu_agrees(dtype, memory_format):
    given = [each.detach() for each in drawn(12, 5, 6, 3, dtype=dtype)]
    given[0] = given[0].contiguous(memory_format=memory_format)
    assert kernels_agree(torch.device("cuda", 0))
    results = []
    for where in ("cpu", "cuda"):
        own = [each.detach().to(where).requires_grad_() for each in given]
        found = normalise_groups(*own, group=4, eps=1e-5)
        found.normalised.float().pow(3).mean().backward()
        results.append([each.detach().float().cpu() for each in (*found, *(value.grad for value in own))])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=2e-2 if dtype == torch.bfloat16 else 1e-3)


def test_inside_autocast_as_one_after_the_other():
    features, weight, bias = drawn(8, 5, 4, 2)
    with torch.autocast("cpu", torch.bfloat16):
        maps = functional.conv2d(features, torch.ones(5, 5, 1, 1))
        found, expected = normalise_groups(maps, weight, bias, group=4, eps=1e-5), one_by_one(maps, weight, bias, 4)
    assert found.normalised.dtype == torch.bfloat16 and torch.equal(found.normalised, expected[0])


@pytest.mark.parametrize("shape", [(6, 3), (6, 3, 2), (6, 3, 2, 2)])
def test_the_gradient_is_that_of_small_differences(shape):
    features, weight, bias = drawn(*shape, dtype=torch.float64)

    def normalised(*given):
        return normalise_groups(*given, group=3, eps=1e-5).normalised

    assert torch.autograd.gradcheck(normalised, (features.requires_grad_(), weight, bias))


def test_what_lies_scattered_in_memory_is_read_right():
    features, weight, bias = drawn(8, 6, 5, 4)
    scattered = features.transpose(2, 3)[:, ::2]
    found = normalise_groups(scattered, weight[:3], bias[:3], group=4, eps=1e-5)
    expected = one_by_one(scattered, weight[:3], bias[:3], 4)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_what_is_frozen_gets_no_gradient_and_the_others_theirs(frozen):
    given = [each.detach().requires_grad_() for each in drawn(6, 3, 2)]
    normalise_groups(*given, group=3, eps=1e-5).normalised.pow(2).sum().backward()
    fewer = [each.detach().requires_grad_(number != frozen) for number, each in enumerate(given)]
    normalise_groups(*fewer, group=3, eps=1e-5).normalised.pow(2).sum().backward()
    for number, (mine, other) in enumerate(zip(fewer, given, strict=True)):
        assert mine.grad is None if number == frozen else torch.equal(mine.grad, other.grad)


def test_a_single_value_to_a_channel_is_refused():
    features, weight, bias = drawn(4, 3)
    with pytest.raises(ValueError, match="more than one value to a channel in each group of 1"):
        normalise_groups(features, weight, bias, group=1, eps=1e-5)
