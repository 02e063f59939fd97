"""Two processes over gloo against one: BatchNorm by itself, and the gradients of a whole network."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from ce2p.models import CE2P, CE2PConfig
from ce2p.training.distributed import Processes
from ce2p.training.edges import edge_labels
from ce2p.training.losses import Criterion
from ce2p.training.recipe import resolve
from ce2p.training.sync_batchnorm import HostSyncBatchNorm2d, synchronised

WORLD = 2


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def launch(work: object, *arguments: object) -> None:
    mp.spawn(work, (free_port(), *arguments), nprocs=WORLD)  # type: ignore[no-untyped-call]


def join(rank: int, port: int) -> Processes:
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=WORLD)
    return Processes(torch.device("cpu"), rank, WORLD)


def normed() -> nn.BatchNorm2d:
    torch.manual_seed(3)
    norm = nn.BatchNorm2d(5)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm


def values() -> tuple[Tensor, Tensor]:
    """Input with means far from zero, where squares would cancel, and a gradient for the output."""
    generator = torch.Generator().manual_seed(1)
    return 50 + torch.randn(6, 5, 4, 3, generator=generator), torch.randn(6, 5, 4, 3, generator=generator)


def norm_work(rank: int, port: int, folder: Path) -> None:
    join(rank, port)
    layer = HostSyncBatchNorm2d.of(normed())
    x, gradient = values()
    share = slice(0, 4) if rank == 0 else slice(4, 6)  # unequal on purpose: counts differ
    part = x[share].requires_grad_()
    layer(part).backward(gradient[share])
    assert part.grad is not None
    assert layer.weight.grad is not None
    torch.save([part.grad, layer.weight.grad, layer.state_dict()], folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_the_layer_equals_batchnorm_over_all_pictures(tmp_path: Path) -> None:
    launch(norm_work, tmp_path)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(WORLD))
    norm, (x, gradient) = normed(), values()
    x.requires_grad_()
    norm(x).backward(gradient)
    assert x.grad is not None
    assert norm.weight.grad is not None
    torch.testing.assert_close(torch.cat([first[0], second[0]]), x.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(first[1] + second[1], norm.weight.grad, rtol=1e-4, atol=1e-5)
    for name, value in norm.state_dict().items():
        torch.testing.assert_close(first[2][name], value, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(second[2][name], first[2][name], rtol=0, atol=0)


def test_alone_it_is_batchnorm_and_shares_the_layers_tensors() -> None:
    norm = normed()
    layer = HostSyncBatchNorm2d.of(norm)
    assert layer.weight is norm.weight
    x, _ = values()
    assert torch.equal(layer(x), norm(x))


def test_every_batchnorm_of_a_network_is_replaced_under_its_name() -> None:
    net = CE2P(CE2PConfig.of("schp", "r18", 16, 4))
    names = list(net.state_dict())
    parameters = {id(parameter) for parameter in net.parameters()}
    synchronised(net, torch.device("cpu"))
    assert list(net.state_dict()) == names
    assert {id(parameter) for parameter in net.parameters()} == parameters
    assert all(type(m) is HostSyncBatchNorm2d for m in net.modules() if isinstance(m, nn.BatchNorm2d))


def network() -> CE2P:
    torch.manual_seed(0)
    net = CE2P(CE2PConfig.of("ce2p", "r18", 16, 4)).double()  # double: what is left is a difference, not rounding
    for module in net.modules():
        if isinstance(module, nn.Dropout2d | nn.Dropout):
            module.p = 0.0  # each process draws its own
    return net.train()


def batch() -> tuple[Tensor, Tensor]:
    """Four pictures; the halves hold different numbers of ignored and of edge pixels."""
    generator = torch.Generator().manual_seed(2)
    labels = torch.randint(0, 4, (4, 1, 5, 5), generator=generator).repeat_interleave(13, 2).repeat_interleave(13, 3)
    labels = labels[:, 0].clone()
    labels[0, :30] = 255
    labels[1] = 2
    return torch.randn(4, 3, 65, 65, generator=generator, dtype=torch.float64), labels


def gradients(net: nn.Module, inputs: Tensor, labels: Tensor, processes: Processes) -> Tensor:
    config = resolve("lip-r18-os16", "ce2p", ["input_size=65"])
    criterion = Criterion(config.loss, True, 4, None, reduce_sum=processes.reduce_sum, world=processes.world)
    parallel = processes.wrap(net)  # held until the gradients are there: it is what averages them
    criterion(parallel(inputs), labels, edge_labels(labels)).total.backward()
    return torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])


def gradient_work(rank: int, port: int, folder: Path) -> None:
    processes = join(rank, port)
    inputs, labels = batch()
    share = slice(2 * rank, 2 * rank + 2)
    torch.save(gradients(network(), inputs[share], labels[share], processes), folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_give_the_gradients_of_one(tmp_path: Path) -> None:
    launch(gradient_work, tmp_path)
    both = [torch.load(tmp_path / f"{rank}.pt") for rank in range(WORLD)]
    alone = gradients(network(), *batch(), Processes(torch.device("cpu")))
    assert torch.equal(both[0], both[1])
    difference = (both[0] - alone).norm() / alone.norm()
    assert difference < 1e-5, f"relative L2 {difference:.1e}"
    assert alone.norm() > 0


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cpu:1"])
def test_an_unknown_device_is_refused(name: str) -> None:
    from ce2p.errors import ConfigError
    from ce2p.training.distributed import joined_processes

    with pytest.raises(ConfigError, match="expected auto, cpu, cuda or cuda:N"), joined_processes(name):
        pass
