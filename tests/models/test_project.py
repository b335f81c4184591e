"""Projection: a count sketch with known moments, the same however its parts come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from curate.models.project import Projection


def project(
    parts: Mapping[str, torch.Tensor], dim: int, seed: Sequence[int] = (0,)
) -> torch.Tensor:
    total = torch.zeros(len(next(iter(parts.values()))), dim)
    projection = Projection(dim, seed)
    for name, part in parts.items():
        projection.add_to(total, name, part)
    return total


def matrix_of(sizes: Mapping[str, int], dim: int, seed: Sequence[int]) -> NDArray[np.float32]:
    """Return the whole projection as a matrix [n, dim], from the images of single coordinates."""
    single, start, parts = torch.eye(sum(sizes.values())), 0, {}
    for name, size in sizes.items():
        parts[name] = single[:, start : start + size]
        start += size
    return project(parts, dim, seed).numpy()


SIZES = st.dictionaries(st.sampled_from("abcd"), st.integers(1, 40), min_size=1)


@given(SIZES, st.integers(1, 25), st.integers(0, 3))
def test_every_coordinate_goes_to_one_bucket_with_a_sign(
    sizes: dict[str, int], dim: int, seed: int
) -> None:
    matrix = matrix_of(sizes, dim, [seed])
    assert set(np.unique(matrix)) <= {-1.0, 0.0, 1.0}
    assert (np.abs(matrix).sum(axis=1) == 1).all()
    start = 0
    for size in sizes.values():
        for row in range(start, start + size, dim):
            buckets = np.abs(matrix[row : min(row + dim, start + size)]).argmax(axis=1)
            assert len(set(buckets)) == len(buckets), "coordinates of one row never meet"
            assert (np.diff(buckets) % dim == 1 % dim).all()
        start += size


@given(SIZES, st.integers(1, 25))
def test_the_projection_is_linear_and_its_parts_add_up_in_any_order(
    sizes: dict[str, int], dim: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    parts = {n: torch.randn(3, size, generator=generator) for n, size in sizes.items()}
    matrix = torch.from_numpy(matrix_of(sizes, dim, [0]))
    expected = torch.cat(list(parts.values()), dim=1) @ matrix
    backwards = dict(reversed(list(parts.items())))
    for some in (parts, backwards):
        torch.testing.assert_close(project(some, dim), expected, atol=1e-5, rtol=1e-4)
    one_by_one = [project({n: p[i : i + 1] for n, p in parts.items()}, dim) for i in range(3)]
    torch.testing.assert_close(torch.cat(one_by_one), expected, atol=1e-5, rtol=1e-4)


def test_seeds_and_names_draw_independently_and_always_the_same() -> None:
    part = torch.ones(1, 4000)
    images = [
        project({name: part}, 64, seed)
        for name, seed in (("a", (0, 0)), ("a", (0, 0)), ("b", (0, 0)), ("a", (0, 1)))
    ]
    assert torch.equal(images[0], images[1])
    assert not torch.equal(images[0], images[2])
    assert not torch.equal(images[0], images[3])
    cosine = torch.cosine_similarity(images[0], images[2]).item()
    assert abs(cosine) < 4 / 64**0.5


def cosines(left: torch.Tensor, right: torch.Tensor, dim: int, trials: int) -> NDArray[np.float64]:
    """Return the products of projected unit vectors for many seeds."""
    cut = left.shape[1] // 3
    products = []
    for seed in range(trials):
        parts = {"a": slice(0, cut), "b": slice(cut, None)}
        one, two = (project({n: v[:, s] for n, s in parts.items()}, dim, [seed])
                    for v in (left, right))  # fmt: skip
        products.append(float((one * two).sum() / (left.norm() * right.norm())))
    return np.array(products)


@pytest.mark.parametrize("kind", ["even", "heavy", "one huge coordinate", "outlier columns"])
def test_products_are_unbiased_with_the_variance_of_a_count_sketch(kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    count, dim, trials = 6_000, 256, 300
    left = torch.randn(1, count, generator=generator)
    right = 0.3 * left + torch.randn(1, count, generator=generator)
    scale = torch.ones(count)
    if kind == "heavy":
        scale = torch.exp(1.5 * torch.randn(count, generator=generator))
    elif kind == "one huge coordinate":
        scale[17] = 1e4
    elif kind == "outlier columns":
        # The same feature sticks out in every row of a matrix whose width divides dim.
        scale[::64] = 30
    left, right = left * scale, right * scale
    true = float(torch.cosine_similarity(left, right))
    products = cosines(left, right, dim, trials)
    bound = ((1 + true**2) / dim) ** 0.5
    assert abs(products.mean() - true) < 4 * bound / trials**0.5 + 1e-6
    assert products.std() < 1.2 * bound


def test_lengths_survive_on_average() -> None:
    vector = torch.randn(1, 5_000, generator=torch.Generator().manual_seed(1))
    lengths = cosines(vector, vector, 512, 100)
    assert lengths.mean() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("size", [1, 7, 8, 9, 16, 17])
def test_parts_shorter_equal_and_longer_than_the_projection(size: int) -> None:
    part = torch.arange(1.0, size + 1).unsqueeze(0)
    image = project({"a": part}, 8)
    if size <= 8:
        assert sorted(image.abs()[0].tolist()) == [*[0.0] * (8 - size), *part[0].tolist()]
    assert image.abs().sum() <= part.sum()
