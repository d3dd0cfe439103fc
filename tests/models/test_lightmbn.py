"""LightMBN against its parts taken by hand from the map of OSNet, whose weights its branches share here."""

import pytest
import torch

from reidlib.models.embedder import Architecture, new_embedder
from reidlib.models.lightmbn import BRANCHES, BatchDropBlock, LightMBN
from reidlib.models.osnet import osnet

LIGHTMBN = Architecture(backbone="lightmbn_x0_25", last_stride=2, pooling="parts", gem_power=3.0, batch_norm_group=64)


def network_and_trunk(seed=0, width=0.25):
    """Return a LightMBN whose three branches have the weights of an OSNet, and that OSNet."""
    torch.manual_seed(seed)
    network, trunk = LightMBN(width=width).double().eval(), osnet(width=width).double()
    trunk(torch.randn(4, 3, 64, 32, dtype=torch.float64))  # moves the running statistics
    state = trunk.eval().state_dict()
    names = {name: LightMBN.original_name(name) for name in network.state_dict()}
    shared = {name: state[theirs] for name, theirs in names.items() if theirs in state}
    assert set(names.values()) >= state.keys()  # OSNet has a place for every tensor
    missing = network.load_state_dict(shared, strict=False).missing_keys
    assert missing and all(name.startswith(network.added_prefixes) for name in missing)
    return network, trunk


def test_the_parts_are_those_of_the_paper():
    network, trunk = network_and_trunk()
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
                pooled[1].append(dropped[image, channel].max())
                pooled[2].append(every.max())
                pooled[3].append(every[:3].mean())
                pooled[4].append(every[2:].mean())
            parts = [
                reduce.weight[:, :, 0, 0] @ torch.stack(part)
                for reduce, part in zip(network.reductions, pooled, strict=True)
            ]
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
        torch.manual_seed(1)
        drawn = network(images)
        torch.manual_seed(1)
        assert torch.equal(network(images), drawn)
    assert [not torch.equal(plain[:, part], drawn[:, part]) for part in range(7)] == [False, True] + [False] * 5
    network.train()(images).square().sum().backward()
    for branch in (*BRANCHES, "conv2", "before_drop", "reductions", "shared_reduction"):
        assert any(value.grad.any() for value in network.get_submodule(branch).parameters()), branch


@pytest.mark.parametrize(("height", "dropped"), [(16, 5), (12, 4), (4, 1), (2, 1), (1, 0)])
def test_one_stripe_of_a_third_of_the_rows_is_dropped_for_the_whole_batch(height, dropped):
    block, features = BatchDropBlock(), torch.rand(3, 4, height, 2) + 1
    assert block.eval()(features) is features
    block.train()
    firsts = set()
    for seed in range(60):
        torch.manual_seed(seed)
        found = block(features)
        rows = (found == 0).all(dim=3).nonzero()[:, 2].unique().tolist()
        assert len(rows) == dropped and rows == list(range(*(rows and (rows[0], rows[-1] + 1)) or (0,)))
        kept = [row for row in range(height) if row not in rows]
        assert torch.equal(found[:, :, kept], features[:, :, kept]) and not found[:, :, rows].any()
        firsts |= set(rows[:1])
    assert firsts == (set(range(height - dropped + 1)) if dropped else set())
