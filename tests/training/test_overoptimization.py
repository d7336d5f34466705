"""The over-optimisation benchmark's arithmetic: the unbiased best of n, and the two laws of Gao et al."""

import itertools

import numpy
import pytest

from benchmarks.overoptimization import Law, best_of_n_means


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_the_best_of_n_is_the_mean_over_all_choices_of_n(n):
    proxy = numpy.array([[0.3, -1.0, 2.0, 0.7, 1.1], [5.0, 4.0, 3.0, 2.0, 1.0]])
    gold = numpy.array([[1.0, 2.0, -3.0, 0.5, 8.0], [0.0, 1.0, 0.0, 1.0, 7.0]])
    best = [
        max((proxy[prompt, k], gold[prompt, k]) for k in chosen)
        for prompt in range(2)
        for chosen in itertools.combinations(range(5), n)
    ]
    assert best_of_n_means(proxy, gold, n) == pytest.approx(numpy.mean(best, axis=0))


def test_a_law_finds_the_coefficients_it_was_drawn_with():
    kl = numpy.array([0.0, 0.25, 1.0, 4.0, 9.0])
    d = numpy.sqrt(kl)
    best_of_n = Law.fit(kl, d * (0.9 - 0.2 * d), "bon")
    assert (best_of_n.alpha, best_of_n.beta, best_of_n.r_squared) == pytest.approx((0.9, 0.2, 1.0))
    # 0.5 (1 − 0.3 log 0.5), 1, 2 (1 − 0.3 log 2), 3 (1 − 0.3 log 3)
    learned = numpy.array([0.0, 0.603972, 1.0, 1.584112, 2.011249])
    law = Law.fit(kl, learned, "rl")
    assert (law.alpha, law.beta) == pytest.approx((1.0, 0.3), abs=1e-5)
    assert law(kl[1:]) == pytest.approx(learned[1:], abs=1e-5)
