"""Examples into batches: which go together, and which position predicts which token in either layout."""

import pytest
import torch

from training.batching import Example, collate, plan_batches, token_cost

PAIR = Example((11, 12), ((21, 22, 23), (31,)), index=7)
DEMONSTRATION = Example((13,), ((41, 42),), index=3)


def test_packed_row_worked_out_by_hand():
    batch = collate([PAIR, DEMONSTRATION], 0, shared=True)
    assert batch.input_ids.tolist() == [[11, 12, 21, 22, 23, 31, 13, 41, 42]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 4, 2, 0, 1, 2]]
    assert batch.predicting.tolist() == [1, 2, 3, 1, 6, 7]
    assert batch.positions.tolist() == [2, 3, 4, 5, 7, 8]
    assert batch.targets.tolist() == [21, 22, 23, 31, 41, 42]
    assert batch.completion_of_token.tolist() == [0, 0, 0, 1, 2, 2]
    assert batch.offsets.tolist() == [0, 1, 2, 0, 0, 1]
    assert batch.lengths.tolist() == [3, 1, 2]
    assert batch.last.tolist() == [4, 5, 8]
    assert batch.example_of_completion.tolist() == [0, 0, 1]
    assert (batch.indices, batch.longest, batch.tokens) == ((7, 3), 3, 9)
    assert batch.attention_mask is None


def test_plain_rows_worked_out_by_hand():
    batch = collate([PAIR, DEMONSTRATION], 99, shared=False)
    assert batch.input_ids.tolist() == [[11, 12, 21, 22, 23], [11, 12, 31, 99, 99], [13, 41, 42, 99, 99]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 1, 0, 0]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 4], [0, 1, 2, 0, 0], [0, 1, 2, 0, 0]]
    assert batch.predicting.tolist() == [1, 2, 3, 6, 10, 11]
    assert batch.positions.tolist() == [2, 3, 4, 7, 11, 12]
    assert batch.last.tolist() == [4, 7, 12]
    assert batch.tokens == 11
    assert batch.tree is None


def test_pad_id_may_be_a_real_token_without_being_read_as_padding():
    ends_in_pad = Example((5,), ((6, 9, 9), (9,)))
    batch = collate([ends_in_pad], 9, shared=False)
    assert batch.lengths.tolist() == [3, 1]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]


def test_token_cost_counts_a_shared_prompt_once():
    assert token_cost(PAIR, shared=True) == 6
    assert token_cost(PAIR, shared=False) == 10  # two rows, both as long as the longer


@pytest.mark.parametrize("completions", [(), ((),), ((1,), ())])
def test_empty_completions_are_refused(completions):
    with pytest.raises(ValueError, match="example 4 has an empty completion"):
        Example((1,), completions, 4)


def test_empty_prompts_and_batches_are_refused():
    with pytest.raises(ValueError, match="empty prompt"):
        Example((), ((1,),))
    with pytest.raises(ValueError, match="at least one example"):
        collate([], 0, shared=True)


COSTS = [int(cost) for cost in torch.randint(1, 200, (300,), generator=torch.Generator().manual_seed(0))] + [900]


def test_plan_takes_every_example_once_within_the_budget():
    plan = plan_batches(COSTS, 400, seed=1)
    assert sorted(index for batch in plan for index in batch) == list(range(len(COSTS)))
    for batch in plan:
        assert len(batch) == 1 or max(COSTS[index] for index in batch) * len(batch) <= 400


def test_plan_puts_like_lengths_together():
    plan = plan_batches(COSTS, 400)
    padded = sum(max(COSTS[index] for index in batch) * len(batch) for batch in plan)
    assert padded < 1.1 * sum(COSTS)


def test_plan_starts_with_the_dearest_and_shuffles_the_rest():
    plan = plan_batches(COSTS, 400, seed=1)
    assert plan[0] == [COSTS.index(900)]
    firsts = [COSTS[batch[0]] for batch in plan[1:]]
    assert firsts != sorted(firsts, reverse=True)
    assert firsts != sorted(firsts)


def test_plan_is_reproducible_and_differs_between_epochs_and_seeds():
    assert plan_batches(COSTS, 400, seed=1, epoch=2) == plan_batches(COSTS, 400, seed=1, epoch=2)
    assert plan_batches(COSTS, 400, seed=1, epoch=2) != plan_batches(COSTS, 400, seed=1, epoch=3)
    assert plan_batches(COSTS, 400, seed=1, epoch=2) != plan_batches(COSTS, 400, seed=2, epoch=2)
