"""Distillation: one network takes over what several say, and keeps what it had if that is worse."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install '.[train]'")

from small_training import SMALL, quiet, small_pools  # noqa: E402

from kwsd.dsp.features import BANDS  # noqa: E402
from kwsd.train import distil as module  # noqa: E402
from kwsd.train.distil import Mean, distil, seeds  # noqa: E402
from kwsd.train.fit import FitConfig, fit  # noqa: E402
from kwsd.train.network import Network  # noqa: E402
from kwsd.train.pools import Pools  # noqa: E402

CONFIG = FitConfig(steps=40, positives=3, negatives=3, seed=4)


@pytest.fixture(scope="module")
def pools() -> Pools:
    return small_pools()


@pytest.fixture(scope="module")
def networks(pools: Pools, tmp_path_factory: pytest.TempPathFactory) -> list[Network]:
    folder = tmp_path_factory.mktemp("networks")
    return [
        fit(pools, config, folder / f"{number}.pt", quiet, SMALL)
        for number, config in enumerate(seeds(CONFIG, 3))
    ]


def heard() -> Any:
    values = np.random.default_rng(5).normal(0.2, 0.6, (8, BANDS, 120))
    return torch.from_numpy(values.astype(np.float32))


def logits(network: Any) -> np.ndarray:
    with torch.no_grad():
        answer: np.ndarray = network.eval()(heard()).numpy()
    return answer


def test_networks_differ_in_their_draws(networks: list[Network]) -> None:
    assert [config.seed for config in seeds(CONFIG, 3)] == [4, 1004, 2004]
    assert seeds(CONFIG, 1) == [CONFIG]
    assert np.abs(logits(networks[0]) - logits(networks[1])).max() > 0.01


def test_the_mean_is_that_of_the_logits(networks: list[Network]) -> None:
    expected = np.mean([logits(network) for network in networks], axis=0)
    np.testing.assert_allclose(logits(Mean(networks)), expected, atol=1e-6)


def test_one_network_learns_what_all_say(
    networks: list[Network], pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RATE", 1e-2)
    asked = logits(Mean(networks))
    before = np.abs(logits(networks[0]) - asked).mean()
    untouched = [value.clone() for value in networks[0].state_dict().values()]
    student = distil(networks, pools, replace(CONFIG, steps=1500), quiet)
    assert np.abs(logits(student) - asked).mean() < 0.7 * before
    for was, now in zip(untouched, networks[0].state_dict().values(), strict=True):
        assert torch.equal(was, now)


def test_the_best_learns_and_stays_where_learning_is_no_good(
    networks: list[Network], pools: Pools
) -> None:
    lines: list[str] = []
    costs = iter([0.3, 0.2, 0.4, 0.15, 0.5, 0.6])  # of the three, of their mean, of two points
    kept = distil(networks, pools, CONFIG, lines.append, lambda network: next(costs))
    np.testing.assert_array_equal(logits(kept), logits(networks[1]))
    assert lines[0] == "networks: costs 0.3000, 0.2000, 0.4000; of their mean 0.1500"
    assert lines[1:] == [
        "distillation, step 2 of 4: cost 0.5000 on development recordings",
        "distillation, step 4 of 4: cost 0.6000 on development recordings",
    ]


def test_the_cheapest_point_is_taken(networks: list[Network], pools: Pools) -> None:
    learn = partial(distil, networks, pools, CONFIG, quiet)
    costs = iter([0.3, 0.2, 0.4, 0.15, 0.1, 0.12])
    first = learn(lambda network: next(costs))
    costs = iter([0.3, 0.2, 0.4, 0.15, 0.12, 0.1])
    last = learn(lambda network: next(costs))
    assert not np.array_equal(logits(first), logits(last))
    assert not np.array_equal(logits(first), logits(networks[1]))


def test_the_same_networks_and_seed_give_the_same(
    networks: list[Network], pools: Pools, tmp_path: Path
) -> None:
    once, again = (
        distil(networks, pools, replace(CONFIG, loaders=loaders), quiet) for loaders in (0, 1)
    )
    np.testing.assert_array_equal(logits(once), logits(again))
