"""From signals and labels to a probability: logistic regression, then isotonic, cross-fitted by folds.

    p = 1 / (1 + exp(-(w . x + b)))     w, b minimise  sum of losses + PENALTY / 2 |w|^2

Newton's method, as there are a few features; the intercept is not held back. Isotonic calibration
(Zadrozny and Elkan 2002, "Transforming classifier scores into accurate multiclass probability
estimates") fits the non-decreasing function nearest to the outcomes in squares, by pooling
neighbours that are out of order; between the middles of two pools it runs straight, which leaves
fewer ties than steps would.

No row's probability is made with its own label, not even by way of another row's: rows are dealt to
folds by their ids alone, the model of a fold has seen the other folds only, and its isotonic part was
fitted on what models without the row in question said of those. A row without a label gets the mean
over the folds' models.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.judge.measures import Flags, Floats

FOLDS = 5
PENALTY = 1.0
ITERATIONS = 100
HALVINGS = 40
CLOSE = 1e-10
# Beyond so many standard deviations a value says no more.
FARTHEST = 5.0

Predict = Callable[[Floats], Floats]


def standardise(signals: Floats) -> Floats:
    """Return features [N, D] of signals [N, S], which are NaN where a row has none.

    Each signal is brought to mean 0 and deviation 1 and cut at FARTHEST; where it is missing it is 0,
    and one more column says so. A constant signal is 0 throughout.
    """
    columns = []
    for values in signals.T:
        present = np.isfinite(values)
        column = np.zeros(len(values))
        spread = values[present].std() if present.any() else 0.0
        if spread > CLOSE * max(np.abs(values[present]).max(initial=0.0), 1.0):
            scaled = (values[present] - values[present].mean()) / spread
            column[present] = scaled.clip(-FARTHEST, FARTHEST)
        columns.append(column)
        if present.any() and not present.all():
            columns.append((~present).astype(np.float64))
    return np.stack(columns, axis=1) if columns else np.zeros((len(signals), 0))


def fit_logistic(features: Floats, right: Flags, penalty: float = PENALTY) -> Floats:
    """Return the weights [D + 1] that minimise the penalised loss, the intercept last.

    Where all rows are right, or all wrong, the intercept is half a row short of certainty.
    """
    count = len(right)
    weights = np.zeros(features.shape[1] + 1)
    share = (right.sum() + 0.5) / (count + 1)
    weights[-1] = np.log(share / (1 - share))
    if right.all() or not right.any():
        return weights
    design = np.column_stack([features, np.ones(count)])
    penalties = np.append(np.full(features.shape[1], penalty), 0.0)
    loss = _loss(design, right, penalties, weights)
    for _ in range(ITERATIONS):
        chances = sigmoid(design @ weights)
        gradient = design.T @ (chances - right) + penalties * weights
        curvature = (design.T * (chances * (1 - chances))) @ design + np.diag(penalties)
        step = np.linalg.lstsq(curvature, gradient, rcond=None)[0]
        for _ in range(HALVINGS):
            step_loss = _loss(design, right, penalties, weights - step)
            if step_loss <= loss:
                break
            step = step / 2
        else:
            break
        weights, gained, loss = weights - step, loss - step_loss, step_loss
        if gained <= CLOSE * max(abs(loss), 1.0) and np.abs(step).max() < np.sqrt(CLOSE):
            break
    return weights


def _loss(design: Floats, right: Flags, penalties: Floats, weights: Floats) -> float:
    signs = np.where(right, -1.0, 1.0)
    losses = np.logaddexp(0.0, signs * (design @ weights))
    return float(losses.sum() + (penalties * weights**2).sum() / 2)


def sigmoid(values: Floats) -> Floats:
    """Return 1 / (1 + exp(-x)) without overflow."""
    small = np.exp(-np.abs(values))
    return np.where(values >= 0, 1 / (1 + small), small / (1 + small))


@dataclass(frozen=True)
class IsotonicFunction:
    """A non-decreasing function: straight between points, flat beyond the first and the last."""

    at: Floats
    value: Floats

    def __call__(self, scores: Floats) -> Floats:
        """Return the function's values."""
        return np.interp(scores, self.at, self.value)


def fit_isotonic(scores: Floats, right: Flags) -> IsotonicFunction:
    """Return the function of the pools, each told at the mean of its scores."""
    at, start, size = np.unique(scores, return_inverse=True, return_counts=True)
    sums = np.bincount(start, weights=right.astype(np.float64), minlength=len(at))
    pools = pool_neighbours(sums / size, size.astype(np.float64))
    weight = np.bincount(pools, weights=size)
    centre = np.bincount(pools, weights=at * size) / weight
    return IsotonicFunction(centre, np.bincount(pools, weights=sums) / weight)


def pool_neighbours(values: Floats, weights: Floats) -> NDArray[np.int64]:
    """Return the pool [n] of each value: neighbours whose means would fall are in the same one."""
    means: list[float] = []
    masses: list[float] = []
    sizes: list[int] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        mean, mass, size = value, weight, 1
        while means and means[-1] >= mean:
            mean = (means[-1] * masses[-1] + mean * mass) / (masses[-1] + mass)
            mass += masses.pop()
            size += sizes.pop()
            means.pop()
        means.append(mean)
        masses.append(mass)
        sizes.append(size)
    return np.repeat(np.arange(len(sizes)), sizes)


def deal_folds(ids: Sequence[str], folds: int = FOLDS) -> NDArray[np.int64]:
    """Return the fold [N] of each row, by its id alone; folds differ in size by one row at most."""
    digests = [hashlib.blake2b(name.encode(), digest_size=8).digest() for name in ids]
    dealt = np.empty(len(ids), dtype=np.int64)
    dealt[sorted(range(len(ids)), key=lambda i: (digests[i], ids[i]))] = np.arange(len(ids)) % folds
    return dealt


def cross_fit(
    features: Floats, labelled: Flags, right: Flags, folds: NDArray[np.int64], *, isotonic: bool
) -> Floats:
    """Return each row's probability [N] of being right, from models that have not seen its label.

    Args:
        features: of all rows [N, D].
        labelled: which rows have a label [N].
        right: their labels [N]; of the other rows it is not read.
        folds: of the rows [N].
        isotonic: calibrate what the regression says.
    """
    chances, total = np.zeros(len(labelled)), np.zeros(len(labelled))
    names = np.unique(folds[labelled])
    for fold in names:
        training = labelled & (folds != fold)
        predict = _fit(features[training], right[training], folds[training], isotonic=isotonic)
        predictions = predict(features)
        total += predictions
        held_out = labelled & (folds == fold)
        chances[held_out] = predictions[held_out]
    chances[~labelled] = total[~labelled] / len(names)
    return chances


def _fit(features: Floats, right: Flags, folds: NDArray[np.int64], *, isotonic: bool) -> Predict:
    weights = fit_logistic(features, right)

    def predict(rows: Floats) -> Floats:
        return sigmoid(rows @ weights[:-1] + weights[-1])

    if not isotonic:
        return predict
    held_out = cross_fit(features, np.ones_like(right), right, folds, isotonic=False)
    calibrate = fit_isotonic(held_out, right)
    return lambda rows: calibrate(predict(rows))
