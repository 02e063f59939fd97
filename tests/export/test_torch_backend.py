"""A network in training as a backend: several threads take turns, and it goes on training afterwards."""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ce2p.labels import label_set
from ce2p.models import CE2P
from ce2p_export.torch_backend import TorchBackend


def test_a_network_in_training_is_in_eval_mode_for_every_thread(tiny: Callable[..., CE2P]) -> None:
    net = copy.deepcopy(tiny("schp"))
    backend = TorchBackend(net, label_set("lip"), (33, 33))
    batches = np.random.default_rng(0).standard_normal((8, 1, 3, 33, 33), np.float32)
    net.train()
    right = [backend.run(batch)[0] for batch in batches]
    statistics = [buffer.clone() for buffer in net.buffers()]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            for found, expected in zip(pool.map(backend.run, batches), right, strict=True):
                np.testing.assert_array_equal(found[0], expected)
    assert all(module.training for module in net.modules())
    assert all((before == now).all() for before, now in zip(statistics, net.buffers(), strict=True))
