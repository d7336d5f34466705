"""A project with people whose habits are known, so that the page has something true to find."""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pytest
from django.utils import timezone

from annotate.labeling.comparisons import NewResponse, add_comparisons, add_prompts, add_responses, pairs_of
from annotate.models import Comparison, GuidelineVersion, Judgment, Membership, Project, Reservation, User
from annotate.projects import create_project
from tests.queue import in_order


@dataclass(frozen=True)
class Habit:
    """`reads`: the chance to find the better response; else the left one is clicked with chance `left`."""

    reads: float = 0.9
    left: float = 0.5
    seconds: float = 40.0


@pytest.fixture
def project(db) -> Project:
    staff = User.objects.create_user("root", is_staff=True)
    project = create_project(staff, name="Careful answers", slug="careful", judgments_wanted=1)
    in_order(project)
    for role in Membership.Role.values:
        Membership.objects.create(project=project, user=User.objects.create_user(role), role=role)
    User.objects.create_user("outsider")
    return project


@pytest.fixture
def comparisons(project):
    """comparisons(40): pairs of an answer by model-one, the first, and a formatted one by model-two."""

    def make(count: int, seed: int = 0) -> list[Comparison]:
        rng = np.random.default_rng(seed)
        conversations = [[{"role": "user", "content": f"Question {number}"}] for number in range(count)]
        pairs = []
        for prompt in add_prompts(project, conversations).rows:
            words = rng.integers(5, 60, size=2)
            responses = [
                NewResponse(prompt, "plain words " * int(words[0]), "model-one"),
                NewResponse(prompt, "formatted words " * int(words[1]) + "\n\n- a point", "model-two"),
            ]
            pairs += pairs_of(add_responses(project, responses).rows)
        add_comparisons(project, pairs)
        return list(project.comparisons.select_related("first", "second").prefetch_related("slots"))

    return make


@pytest.fixture
def judge(project):
    """judge(user, comparison, picks_first=True, swapped=False): a judgment as the labeling page stores it, unsaved."""

    def make(user, comparison, *, picks_first: bool, swapped: bool, slightly: bool = False, seconds: float = 30.0):
        now = timezone.now()
        left, right = comparison.first, comparison.second
        left, right = (right, left) if swapped else (left, right)
        picks_left = picks_first != swapped
        reservation = Reservation(
            project=project, slot=comparison.slots.all()[0], annotator=user, swapped=swapped,
            reserved_at=now, shown_at=now, queued_at=now - timedelta(days=1),
        )  # fmt: skip
        return Judgment(
            comparison=comparison, annotator=user, reservation=reservation, left=left, right=right,
            rating=1 + slightly if picks_left else 4 - slightly, winner=left if picks_left else right,
            helpful=1 if picks_left else -1, guideline=GuidelineVersion.objects.filter(project=project).first(),
            shown_at=now, created_at=now, seconds=seconds,
        )  # fmt: skip

    return make


def save(judgments: list[Judgment]) -> None:
    Reservation.objects.bulk_create(judgment.reservation for judgment in judgments)
    Judgment.objects.bulk_create(judgments)


@pytest.fixture
def simulate(comparisons, judge):
    """simulate({"ann": Habit()}, 40): everybody judges every pair; model-two wrote the better one in three of four."""

    def run(habits: dict[str, Habit], count: int = 40, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        rows = comparisons(count)
        first_is_better = rng.random(count) < 0.25
        judgments = []
        for name, habit in habits.items():
            user = User.objects.create_user(name)
            for comparison, better in zip(rows, first_is_better, strict=True):
                swapped = bool(rng.random() < 0.5)
                clicks_left = rng.random() < habit.left
                picks_first = better if rng.random() < habit.reads else clicks_left != swapped
                seconds = float(habit.seconds * np.exp(rng.normal(0, 0.5)))
                slightly = bool(rng.random() < 0.3)
                judgments.append(
                    judge(user, comparison, picks_first=bool(picks_first), swapped=swapped, slightly=slightly,
                          seconds=seconds)
                )  # fmt: skip
        save(judgments)

    return run
