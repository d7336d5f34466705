"""In which order the queue goes, and whether the stored probabilities are those with which items are drawn."""

import random
from collections import Counter
from itertools import pairwise

import pytest

from annotate.labeling import policies
from annotate.labeling.policies import WINDOW, Item, Known, Lot, Neighbours, Open, draw, uniform_probability
from annotate.labeling.queue import reserve_next
from annotate.labeling.submit import skip_comparison, submit_judgment
from annotate.models import GoldQuestion, Judgment, ModelVersion, Project, Reservation, Round, Run, Slot
from annotate.models.project import QueuePolicy
from annotate.projects import update_project


def around(places: list[float], place: float) -> Neighbours:
    """The neighbours of `place`, as the database finds them."""
    items = [Item(number, spread) for number, spread in enumerate(sorted(places))]
    some = WINDOW + 1
    return Neighbours(
        before=[item for item in reversed(items) if item.spread < place][:some],
        after=[item for item in items if item.spread >= place][:some],
        lowest=items[:some],
        highest=items[::-1][:some],
    )


def exact(places: list[float], item: float) -> float:
    """The probability of `item`, from every interval in which a draw may begin: its length, if reached, by window."""
    ring = sorted(places)
    window, total = min(WINDOW, len(ring)), 0.0
    for low, high in pairwise([ring[-1] - 1, *ring]):
        first = ring.index(high)
        reached = [ring[(first + step) % len(ring)] for step in range(window)]
        total += (high - low) * reached.count(item) / window
    return total


@pytest.mark.parametrize("count", [1, 2, 7, 16, 17, 18, 33, 200])
def test_the_stored_probability_is_that_of_the_draw(count):
    rng = random.Random(count)
    places = [rng.random() for _ in range(count)]
    total = 0.0
    for place in places:
        of_itself = uniform_probability(Item(0, place), around(places, place))
        assert of_itself == pytest.approx(exact(places, place), rel=1e-9)
        total += of_itself
    assert total == pytest.approx(1)
    begin = rng.random()
    for item in around(places, begin).forward():
        assert uniform_probability(item, around(places, begin)) == pytest.approx(exact(places, item.spread), rel=1e-9)


def test_places_on_the_circle_are_so_even_that_draws_are_nearly_uniform():
    places = [policies.place_on_circle(number) for number in range(5_000, 6_000)]
    probabilities = [1000 * uniform_probability(Item(0, place), around(places, place)) for place in places]
    assert 0.9 < min(probabilities) <= max(probabilities) < 1.1


def test_the_shares_of_policy_chance_and_gold():
    ring = around([0.1, 0.4, 0.5, 0.9], 0.4)
    pick = Item(7, 0.5)
    shares = {"gold_share": 0.2, "random_share": 0.4}
    by_policy = draw(Lot(False, False, 0.0), Open(pick, [31, 32], ring), random.Random(0), **shares)
    assert (by_policy.item, by_policy.by_policy) == (pick, True)
    assert by_policy.probability == pytest.approx(0.8 * (0.4 / 4 + 0.6))
    at_random = draw(Lot(False, True, 0.4), Open(pick, [31, 32], ring), random.Random(2), **shares)
    both = at_random.item.spread == pick.spread
    assert at_random.probability == pytest.approx(0.8 * (0.4 / 4 + (0.6 if both else 0)))
    gold = draw(Lot(True, False, 0.0), Open(pick, [31, 32], ring), random.Random(0), **shares)
    assert gold.gold in {31, 32} and gold.probability == pytest.approx(0.1)
    # Nobody is tested with gold alone, and where no question is left its share is the others'.
    assert draw(Lot(True, False, 0.0), Open(None, [31], ring), random.Random(0), **shares) is None
    without = draw(Lot(True, False, 0.0), Open(pick, [], ring), random.Random(0), **shares)
    assert without.probability == pytest.approx(0.4 / 4 + 0.6)


def test_what_is_more_uncertain_has_the_lower_rank():
    split, divided, unknown, sure = Known(1, 1), Known(2, 1), Known(), Known(2, 0)
    ranks = [policies.uncertainty(known) for known in (split, unknown, divided, sure)]
    assert ranks == sorted(ranks) and len(set(ranks)) == 4
    assert policies.uncertainty(Known(uncertainty=0.3)) == -0.3
    # Two judgments of a ranking of three that differ on its last two: p = 5/6, 5/6 and 1/2, of which 4p(1 − p) is 5/9,
    # 5/9 and 1. That is surer than a pair of which a reward model thinks 0.9, and not than one of which it thinks 0.5.
    ranking = policies.uncertainty(Known(equal=2, ranked=((2, 0, 0), (2, 0, 0), (1, 1, 0))))
    assert ranking == pytest.approx(-(5 / 9 + 5 / 9 + 1) / 3 - 0.002)
    assert policies.uncertainty(Known(uncertainty=0.9)) < ranking < policies.uncertainty(Known(uncertainty=0.5))
    assert policies.breadth(Known(1, 0, 2)) == 3
    assert policies.on_policy(Known(round=4)) < policies.on_policy(Known(round=3)) < policies.on_policy(Known())


@pytest.fixture
def policy(project, admin, db):
    def choose(name: str) -> Project:
        return update_project(project, admin, queue_policy=name)

    return choose


def judge_next(project, user, rating: int = 1):
    drawn = reserve_next(project, user)
    submit_judgment(user, drawn.key, rating)
    return drawn.comparison


@pytest.mark.django_db
def test_breadth_first_judges_everything_once_before_anything_twice(project, policy, ada, ben, pairs):
    policy(QueuePolicy.BREADTH)
    first, second, third = pairs(3, wanted=2)
    assert judge_next(project, ada) == first
    assert [judge_next(project, ben), judge_next(project, ben)] == [second, third]
    assert {judge_next(project, ada), judge_next(project, ada)} == {second, third}
    assert judge_next(project, ben) == first


@pytest.mark.django_db
def test_split_votes_come_first(project, policy, person, pairs):
    policy(QueuePolicy.UNCERTAINTY)
    first, _, _ = pairs(3, wanted=4)
    for name, better in (("a", first.first), ("b", first.second)):
        voter = person(name)
        drawn = reserve_next(project, voter)
        while drawn.comparison != first:
            skip_comparison(voter, drawn.key, "other")
            drawn = reserve_next(project, voter)
        submit_judgment(voter, drawn.key, 1 if drawn.left == better else 4)
    assert judge_next(project, person("cyd")) == first


@pytest.mark.django_db
def test_the_newest_round_comes_first_and_a_change_of_policy_reorders(project, policy, ada, pairs):
    old, new = pairs(2)
    make_round(project, 1, [new])
    assert reserve_next(project, ada).comparison == old
    skip_comparison(ada, reserve_next(project, ada).key, "other")
    pairs(1, start=2)
    policy(QueuePolicy.ON_POLICY)
    assert Slot.objects.order_by("rank", "free_from").first().comparison == new
    assert reserve_next(project, ada).comparison == new
    policy(QueuePolicy.OLDEST)
    assert not Slot.objects.exclude(rank=0).exists()


def make_round(project, number, comparisons):
    run = Run.objects.create(project=project, recipe="generate", params={})
    model = ModelVersion.objects.create(project=project, kind="policy", name="p")
    made = Round.objects.create(project=project, number=number, policy=model, run=run)
    for comparison in comparisons:
        comparison.round = made
        comparison.save()


def test_what_comes_in_takes_its_place_by_the_policy_of_that_moment(project, admin, pairs):
    update_project(Project.objects.get(pk=project.pk), admin, queue_policy="uncertainty")
    assert project.queue_policy == "oldest", "as an import that began before has loaded it"
    pairs(1)
    assert Slot.objects.get().rank == -1


@pytest.mark.django_db
def test_how_often_each_is_drawn_is_what_the_stored_probabilities_say(project, person, pairs):
    """200 people draw from a queue of five comparisons, half of the draws at random."""
    project.random_share = 0.5
    made = pairs(5, wanted=50)
    rng, counts, first = random.Random(1), Counter(), {}
    for number in range(200):
        user = person(f"p{number}")
        drawn = reserve_next(project, user, rng=rng)
        counts[drawn.comparison] += 1
        first.setdefault(drawn.comparison, drawn.draw_probability)
        # Back to where it was, so that everybody draws from the same queue.
        Slot.objects.filter(holder=user).update(holder=None, free_from=drawn.queued_at or drawn.reserved_at)
    assert sum(counts.values()) == 200
    assert {round(probability, 6) for probability in first.values()} <= {0.1, 0.6}
    common, times = counts.most_common(1)[0]
    assert 95 <= times <= 150, "0.6 of 200 is 120"
    assert all(5 <= counts[comparison] <= 40 for comparison in made if comparison != common)


@pytest.mark.django_db
def test_gold_questions_hide_among_the_others_once_a_person(project, ada, ben, pairs):
    known, *others = pairs(6)
    known.slots.update(apart=True)
    GoldQuestion.objects.create(comparison=known, expected=known.first)
    project.gold_share = 0.5
    rng = random.Random(3)
    met = []
    for user in (ada, ben):
        while drawn := reserve_next(project, user, rng=rng):
            met.append((user, drawn.comparison))
            if len(met) == 1:
                assert drawn.draw_probability == pytest.approx(0.5)
            if drawn.comparison == known:
                assert drawn.slot.apart and drawn.queued_at is None
            submit_judgment(user, drawn.key, 1)
    assert len(met) == len(set(met)) and {(ada, known)} <= set(met)
    assert {comparison for _, comparison in met} == {known, *others}
    slot = Judgment.objects.get(annotator=ada, comparison=known).slot
    assert slot.apart and known.slots.filter(holder=ada).count() == 1


@pytest.mark.django_db
def test_random_draws_do_not_move_a_person_in_the_queue(project, ada, pairs):
    pairs(30)
    project.random_share = 1
    for _ in range(5):
        submit_judgment(ada, reserve_next(project, ada).key, 1)
    assert not Reservation.objects.filter(queued_at__isnull=False).exists()
    project.random_share = 0
    left = Slot.objects.filter(free_from__isnull=False).order_by("free_from").first()
    assert reserve_next(project, ada).slot == left
