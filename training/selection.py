"""Which of many scored completions to keep: rejection sampling's two rules, best-of-n and what it costs in KL.

`scores` is (prompts, completions); a completion that must not be chosen scores −∞. Ties go to the one drawn first.
"""

import math

import torch


def best_per_prompt(scores: torch.Tensor) -> list[tuple[int, int]]:
    """(prompt, completion) of each prompt's best; a prompt without any that may be chosen is left out."""
    best = scores.max(1)
    first = (scores == best.values[:, None]).int().argmax(1)
    return [(i, int(first[i])) for i in range(len(scores)) if best.values[i] > -math.inf]


def best_overall(scores: torch.Tensor, k: int) -> list[tuple[int, int]]:
    """(prompt, completion) of the k best of all, the best first: absolute quality, which favours easy prompts."""
    order = scores.flatten().sort(descending=True, stable=True).indices[:k].tolist()
    width = scores.shape[1]
    return [divmod(place, width) for place in order if scores.flatten()[place] > -math.inf]


def best_of_n_kl(n: int) -> float:
    """log n − (n−1)/n: a bound on KL(best-of-n ‖ policy), in nats (Stiennon et al. 2020; Beirami et al. 2024)."""
    return math.log(n) - (n - 1) / n


def expected_best(scores: torch.Tensor, k: int) -> torch.Tensor:
    """E[max of k of a prompt's n scores drawn without replacement]: (prompts, n) → (prompts,).

    Unbiased for best-of-k from all n: the i-th smallest is the largest of C(i−1, k−1) of the C(n, k) subsets.
    """
    n = scores.shape[1]
    shares = torch.tensor([math.comb(i - 1, k - 1) / math.comb(n, k) for i in range(1, n + 1)], dtype=torch.float64)
    return (scores.double().sort(1).values * shares).sum(1)
