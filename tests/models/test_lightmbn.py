"""LightMBN against its parts taken by hand from the map of OSNet, whose weights its branches share here."""

import numpy as np
import pytest
import torch

from reidlib.models.embedder import Architecture, new_embedder
from reidlib.models.lightmbn import BRANCHES, LightMBN, TopDrop
from reidlib.models.osnet import osnet

LIGHTMBN = Architecture(backbone="lightmbn_x0_25", last_stride=2, pooling="parts", gem_power=3.0, batch_norm_group=64)


def network_and_trunk(seed=0, width=0.25, **values):
    """Return a LightMBN whose three branches have the weights of an OSNet, and that OSNet."""
    torch.manual_seed(seed)
    network, trunk = LightMBN(width=width, **values).double().eval(), osnet(width=width).double()
    trunk(torch.randn(4, 3, 64, 32, dtype=torch.float64))  # moves the running statistics
    state = trunk.eval().state_dict()
    names = {name: LightMBN.original_name(name) for name in network.state_dict()}
    shared = {name: state[theirs] for name, theirs in names.items() if theirs in state}
    assert set(names.values()) >= state.keys()  # OSNet has a place for every tensor
    missing = network.load_state_dict(shared, strict=False).missing_keys
    assert missing and all(name.startswith(network.added_prefixes) for name in missing)
    return network, trunk


@pytest.mark.parametrize("averages", [False, True])
def test_the_parts_are_those_of_the_paper_or_of_the_toolbox(averages):
    network, trunk = network_and_trunk(averages=averages)
    images = torch.randn(2, 3, 80, 32, dtype=torch.float64)
    with torch.no_grad():
        found, features = network(images), trunk(images)
        dropped = network.before_drop(features)
        channels, rows = features.shape[1:3]
        assert rows == 5  # the halves share the middle row
        expected = []
        for image in range(2):
            pooled = [[], [], [], [], []]
            for channel in range(channels):
                every = features[image, channel]
                pooled[0].append(dropped[image, channel].sum() / dropped[image, channel].numel())
                pooled[1].append(dropped[image, channel].mean() if averages else dropped[image, channel].max())
                pooled[2].append(every.mean() if averages else every.max())
                pooled[3].append(every[:3].mean())
                pooled[4].append(every[2:].mean())
            parts = [
                reduce.weight[:, :, 0, 0] @ torch.stack(part)
                for reduce, part in zip(network.reductions, pooled, strict=True)
            ]
            parts = [part.clamp(min=0) if averages else part for part in parts]
            for half in features[image].mean((1, 2)).split(channels // 2):
                reduced = network.shared_reduction.conv.weight[:, :, 0, 0] @ half
                parts.append((reduced / (1 + 1e-5) ** 0.5).relu())  # a norm that has seen nothing
            expected.append(torch.stack(parts))
    assert found.shape == (2, 7, 128) and network.parts == 7
    torch.testing.assert_close(found, torch.stack(expected))


def test_names_of_a_branch_are_traced_to_osnet():
    for branch in BRANCHES:
        assert LightMBN.original_name(f"{branch}.conv4.0.gate.fc1.weight") == "conv4.0.gate.fc1.weight"
        assert LightMBN.original_name(f"{branch}.conv3.2.0.bn.bias") == "conv3.2.0.bn.bias"
    assert LightMBN.original_name("conv3.0.conv1.conv.weight") == "conv3.0.conv1.conv.weight"


def test_at_width_1_there_are_seven_parts_of_512():
    network = LightMBN()
    assert network.head_hidden_size == 512
    counted = {name: sum(value.numel() for value in part.parameters()) for name, part in network.named_children()}
    trunk = {name: sum(value.numel() for value in part.parameters()) for name, part in osnet().named_children()}
    rest = counted["whole"]
    assert counted["stripes"] == counted["halves"] == rest
    assert counted["conv1"] + counted["conv2"] + counted["conv3"] + rest == sum(trunk.values())
    assert rest == sum(trunk.values()) - trunk["conv1"] - trunk["conv2"] - counted["conv3"]
    assert counted["reductions"] == 5 * 512 * 512 and counted["shared_reduction"] == 256 * 512 + 2 * 512
    with torch.inference_mode():
        assert network.eval()(torch.zeros(1, 3, 64, 32)).shape == (1, 7, 512)


def test_an_embedder_gives_every_part_a_neck_of_its_own():
    model = new_embedder(LIGHTMBN, seed=0)
    images = torch.randn(6, 3, 64, 32)
    torch.manual_seed(0)
    found = model(images)
    assert found.pooled.shape == found.necked.shape == (6, 7, 128) and model.dimension == 7 * 128
    torch.manual_seed(0)
    assert torch.equal(found.pooled, model.backbone(images))
    for part in range(7):
        expected = torch.nn.functional.batch_norm(found.pooled[:, part], None, None, training=True)
        torch.testing.assert_close(found.necked[:, part], expected)
    torch.testing.assert_close(found.embeddings.norm(dim=1), torch.ones(6))
    assert found.embeddings.shape == (6, 7 * 128)


def test_training_drops_in_one_part_alone_and_teaches_every_branch():
    network, _ = network_and_trunk()
    images = torch.randn(4, 3, 96, 32, dtype=torch.float64)
    with torch.no_grad():
        plain = network(images)
        network.drop.train()
        drawn = network(images)
    assert [not torch.equal(plain[:, part], drawn[:, part]) for part in range(7)] == [False, True] + [False] * 5
    network.train()(images).square().sum().backward()
    for branch in (*BRANCHES, "conv2", "before_drop", "reductions", "shared_reduction"):
        assert any(value.grad.any() for value in network.get_submodule(branch).parameters()), branch


@pytest.mark.parametrize(("height", "dropped"), [(24, 8), (16, 5), (12, 4), (4, 1), (2, 1), (1, 0)])
def test_the_third_of_an_images_rows_that_responds_most_is_dropped(height, dropped):
    block, features = TopDrop(), torch.randn(3, 4, height, 2, requires_grad=True)
    assert block.eval()(features) is features
    found = block.train()(features)
    for image, result in zip(features.detach().numpy(), found.detach().numpy(), strict=True):
        strongest = [max((image[:, y, x] ** 2).sum() for x in range(2)) for y in range(height)]
        rows = sorted(range(height), key=lambda y: -strongest[y])[:dropped]
        assert not result[:, rows].any()
        kept = [y for y in range(height) if y not in rows]
        np.testing.assert_array_equal(result[:, kept], image[:, kept])
    found.sum().backward()
    assert torch.equal(features.grad == 0, found == 0)
