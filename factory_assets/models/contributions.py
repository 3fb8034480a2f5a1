"""What does each feature add to a prediction? Numbers that sum to the model's score, exactly.

A linear or additive model is its own explanation. Of trees these are Shapley values: a feature's share is what it changes, averaged
over all orders in which the features of a row may become known (Lundberg and others, "Consistent individualized feature
attribution for tree ensembles", 2018). A split by a feature that is not known yet sends the row both ways, by the shares
of training rows that went there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

#: The shares of rows on both sides of a split that no known row came to.
EVEN = 0.5


@dataclass(frozen=True)
class Contributions:
    """How the scores of n rows come about: `base`, and what each of p features adds to it.

    base: shape (k,), for k scores a row: one, or one for each class. of_features: shape (n, k, p).
    link: makes predictions of scores: identity, logistic, exponential, softmax, or signed_square.
    of: the classes that the scores are for; () for one score that is for none.
    then: what is done to the prediction afterwards, such as "isotonic calibration"; "" for nothing.
    """

    base: np.ndarray
    of_features: np.ndarray
    link: str
    of: tuple[str, ...] = ()
    then: str = ""

    @property
    def scores(self) -> np.ndarray:
        """Shape (n, k)."""
        return np.asarray(self.base + self.of_features.sum(axis=2))

    def predictions(self) -> np.ndarray:
        """Shape (n,), or (n, k) for k > 1: what the link makes of the scores. Raises ValueError for an unknown link."""
        from scipy.special import expit, softmax

        scores = self.scores
        if self.link == "softmax":
            return np.asarray(softmax(scores, axis=1))
        scores = scores[:, 0] if scores.shape[1] == 1 else scores
        match self.link:
            case "identity":
                return scores
            case "logistic":
                return np.asarray(expit(scores))
            case "exponential":
                return np.asarray(np.exp(scores))
            case "signed_square":
                return np.sign(scores) * scores**2
        raise ValueError(f"link {self.link!r} is not known")


@dataclass(frozen=True)
class Forest:
    """Trees as arrays over all their nodes; children stand after their parent.

    feature: shape (nodes,), of each split, below 0 for a leaf. left, right: shape (nodes,), the children of each split.
    value: shape (nodes, k), what a leaf adds to each of k scores. reached: shape (nodes,), how many known rows came by.
    """

    feature: np.ndarray
    left: np.ndarray
    right: np.ndarray
    value: np.ndarray
    reached: np.ndarray

    def shapley(self, goes_left: Iterable[np.ndarray], width: int) -> tuple[np.ndarray, np.ndarray]:
        """Base of the scores, shape (k,), and what each feature adds for each row, shape (n, k, width).

        goes_left: for each row, shape (nodes,), whether it goes left at each split.

        A leaf with value v below splits by m features adds, to feature i of them,

            v (o_i - z_i) sum over sets S of the others of |S|! (m - 1 - |S|)! / m! prod_{j in S} o_j prod_{j not in S} z_j

        where o_j is 1 if the row goes the leaf's way wherever j decides, else 0, and z_j the share of known rows that do. The sum is
        the integral over s from 0 to 1 of prod_{j != i} (s o_j + (1 - s) z_j), a polynomial, which Gauss and Legendre's points
        give exactly.
        """
        leaves = np.flatnonzero(self.feature < 0)
        paths = self._paths(leaves)
        base, of_features = self._base(leaves, paths), list[np.ndarray]()
        most = int(np.bincount(paths.leaf).max()) if len(paths.leaf) else 1
        points, weights = np.polynomial.legendre.leggauss(-(-most // 2))
        quadrature = list(zip((points + 1) / 2, weights / 2, strict=True))
        values, splits = self.value[leaves], self.feature >= 0
        for left in goes_left:
            went = np.zeros(len(self.feature))
            went[self.left[splits]], went[self.right[splits]] = left[splits], ~left[splits]
            added = np.zeros((values.shape[1], width))
            if len(paths.leaf):
                own = np.minimum.reduceat(went[paths.node], paths.starts)
                share = paths.weighted(own, quadrature)
                for score, of_leaf in enumerate(values.T):
                    added[score] = np.bincount(paths.feature, share * of_leaf[paths.leaf], minlength=width)
            of_features.append(added)
        return base, np.stack(of_features)

    def _base(self, leaves: np.ndarray, paths: Paths) -> np.ndarray:
        """Shape (k,): the mean of the leaves, each with the share of known rows that come to it."""
        share = np.ones(len(leaves))
        if len(paths.leaf):
            first = paths.firsts
            share[paths.leaf[first]] = np.multiply.reduceat(paths.share, first)
        return np.asarray((self.value[leaves] * share[:, None]).sum(axis=0))

    def _paths(self, leaves: np.ndarray) -> Paths:
        splits = np.flatnonzero(self.feature >= 0)
        parent = np.full(len(self.feature), -1)
        parent[self.left[splits]] = parent[self.right[splits]] = splits
        share = np.full(len(self.feature), EVEN)
        below = np.flatnonzero((parent >= 0) & (self.reached[parent] > 0))
        share[below] = self.reached[below] / self.reached[parent[below]]
        at, place = leaves, np.arange(len(leaves))
        steps: list[tuple[np.ndarray, np.ndarray]] = []
        while len(at):
            inside = parent[at] >= 0
            at, place = at[inside], place[inside]
            steps.append((place, at))
            at = parent[at]
        leaf, node = (np.concatenate(each) for each in zip(*steps, strict=True))
        feature = self.feature[parent[node]]
        order = np.lexsort((feature, leaf))
        leaf, node, feature = leaf[order], node[order], feature[order]
        # A feature that splits twice above a leaf is known, or not, for both.
        starts = np.flatnonzero(np.diff(leaf, prepend=-1) | np.diff(feature, prepend=-1))
        of_feature = np.multiply.reduceat(share[node], starts) if len(starts) else np.empty(0)
        return Paths(leaf[starts], feature[starts], of_feature, node, starts)


@dataclass(frozen=True)
class Paths:
    """The features that decide whether a row comes to each leaf, one entry a leaf and feature, by leaf.

    leaf: shape (m,), the place of the leaf. feature: shape (m,). share: shape (m,), of known rows that go the leaf's way wherever the
    feature decides. node: the nodes on all paths, those of entry i from starts[i] on.
    """

    leaf: np.ndarray
    feature: np.ndarray
    share: np.ndarray
    node: np.ndarray
    starts: np.ndarray

    @property
    def firsts(self) -> np.ndarray:
        """The first entry of each leaf that has any."""
        return np.flatnonzero(np.diff(self.leaf, prepend=-1))

    def weighted(self, own: np.ndarray, quadrature: list[tuple[float, float]]) -> np.ndarray:
        """Shape (m,): what a leaf of value 1 adds to each feature. own: shape (m,), 1 where the row goes the leaf's way, else 0."""
        first = self.firsts
        counts = np.diff(np.append(first, len(self.leaf)))
        # Nobody comes to a leaf by a feature by which neither the row nor any known row does: it adds nothing to any feature.
        closed = (own == 0) & (self.share == 0)
        open_leaf = np.repeat(~np.logical_or.reduceat(closed, first), counts)
        total = np.zeros(len(self.leaf))
        for point, weight in quadrature:
            factors = np.where(closed, 1.0, point * own + (1 - point) * self.share)
            total += weight * np.repeat(np.multiply.reduceat(factors, first), counts) / factors
        return np.where(open_leaf, (own - self.share) * total, 0.0)
