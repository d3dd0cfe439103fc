"""The kernels for a GPU, step by step by Triton's interpreter on the CPU, against plain batch normalisation."""

import os
import subprocess
import sys
from contextlib import redirect_stdout
from importlib.util import find_spec
from io import StringIO

import pytest
import torch

from tests.models.test_norm_in_groups import drawn, one_by_one

# Rows and channels that fill blocks of a program and that do not, one part and several, one group and several.
CASES = [((12, 5, 6, 3), 4), ((12, 70), 4), ((8, 130, 20, 9), 4), ((2, 16, 32, 32), 1), ((6, 64, 8, 8), 6)]


def compare() -> None:
    """Differ from float64 by rounding alone."""
    from reidlib.models import norm_kernels

    norm_kernels.PROGRAMS = 8  # several blocks to a part
    for shape, group in CASES:
        for dtype, close in ((torch.float32, 1e-5), (torch.bfloat16, 8e-3)):
            features, weight, bias = (each.detach() for each in drawn(*shape, dtype=dtype))
            upstream = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype)
            if len(shape) == 4:
                features, upstream = (
                    each.contiguous(memory_format=torch.channels_last) for each in (features, upstream)
                )
            exact = [each.double().requires_grad_() for each in (features, weight, bias)]
            expected, means, variances = one_by_one(*exact, group)
            expected.backward(upstream.double())
            found, moments = norm_kernels.normalise(features, weight, bias, group=group, eps=1e-5)
            assert found.dtype == dtype and found.stride() == features.stride()
            ours = norm_kernels.gradients(upstream, features, moments, weight, group=group)
            theirs = [expected.detach(), means, variances, *(each.grad for each in exact)]
            for mine, other in zip((found, moments[:, 0], moments[:, 1], *ours), theirs, strict=True):
                assert (mine.double() - other).norm() <= close * other.norm(), (shape, dtype)


def far_from_zero() -> None:
    """A variance survives a mean a thousand times as large."""
    from reidlib.models import norm_kernels

    features = 1000 + torch.randn(64, 32, generator=torch.Generator().manual_seed(0))
    _, moments = norm_kernels.normalise(features, torch.ones(32), torch.zeros(32), group=64, eps=0.0)
    torch.testing.assert_close(moments[0, 1], features.double().var(0).float(), rtol=1e-4, atol=0)


def ask_whether_they_agree() -> None:
    """Kernels are used where they run and agree, and else it is said that they are not."""
    from reidlib.models import norm_in_groups, norm_kernels

    device, told, right = torch.device("cpu"), StringIO(), norm_kernels.gradients
    assert norm_in_groups.kernels_agree(device)
    for wrong, words in (
        (lambda *_, **__: 1 / 0, "ZeroDivisionError"),
        (lambda *a, **b: right(-a[0], *a[1:], **b), "other"),
    ):
        norm_in_groups.kernels_agree.cache_clear()
        norm_kernels.gradients = wrong
        with redirect_stdout(told):
            assert not norm_in_groups.kernels_agree(device)
        assert words in told.getvalue()


@pytest.mark.skipif(find_spec("triton") is None, reason="no Triton for this platform")
@pytest.mark.parametrize("check", [compare, far_from_zero, ask_whether_they_agree])
def test_interpreted_they_agree(check):
    """In a process of its own: Triton asks when it is imported whether to interpret."""
    code = f"from {__name__} import {check.__name__} as check; check()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
