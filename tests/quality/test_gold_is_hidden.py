"""Nothing that an annotator can open moves otherwise after a gold question than after any other pair."""

import re

import pytest
from django.test import Client

from annotate.labeling.progress import project_totals
from annotate.models import GoldQuestion, Judgment, User
from annotate.projects import update_project
from annotate.quality.gold_questions import NewQuestion, make_questions

HOME = re.compile(r"(\d+) of (\d+) judgments(?: · (\d+) by you)?")
LABEL = re.compile(r'<progress value="(\d+)" max="(\d+)"')


@pytest.fixture
def mixed(project, comparisons):
    """Twenty pairs, every second of them a gold question, hidden among the others; accuracy is shown to people."""
    root, rows = User.objects.get(username="root"), comparisons(20)
    update_project(project, root, gold_share=0.5, show_gold_accuracy=True)
    make_questions(project, [NewQuestion(pair, pair.first) for pair in rows[::2]], "gold", user=root)
    return project


def seen(client) -> list[int]:
    """Every number about progress that an annotator is shown, on pages and in the API."""
    home = HOME.search(client.get("/").content.decode()).groups("0")
    label = LABEL.search(client.get("/p/careful/label/").content.decode()).groups()
    mine = client.get("/api/projects/careful/progress/mine/").json()
    state = client.post("/api/projects/careful/next/", {}, content_type="application/json").json()["state"]
    own = [mine[name] for name in ("judged", "skipped", "left", "today", "shared")]
    return [int(number) for number in (*home, *label, *own, mine["gold"]["answered"], *state.values())]


def test_every_answer_moves_the_same_numbers(mixed):
    client = Client()
    client.force_login(User.objects.get(username="annotator"))
    moves, before = {True: set(), False: set()}, seen(client)
    while any(not found for found in moves.values()) or Judgment.objects.count() < 6:
        pair = client.post("/api/projects/careful/next/", {}, content_type="application/json").json()["pair"]
        sent = {"key": pair["key"], "rating": 1}
        assert client.post("/api/projects/careful/judgments/", sent, content_type="application/json").status_code == 200
        now = seen(client)
        was_gold = GoldQuestion.objects.filter(comparison=Judgment.objects.latest("pk").comparison_id).exists()
        moves[was_gold].add(tuple(after - earlier for earlier, after in zip(before, now, strict=True)))
        before = now
    assert moves[True] == moves[False] and len(moves[True]) == 1


def test_admins_get_the_exact_totals(mixed):
    """Ten pairs are wanted; answers to gold questions fill none of their slots."""
    assert project_totals(mixed) == (10, 0)


def test_the_pool_is_met_once(mixed):
    """Ten questions and ten pairs: twenty different items, and then nothing."""
    client, met = Client(), []
    client.force_login(User.objects.get(username="annotator"))
    while pair := client.post("/api/projects/careful/next/", {}, content_type="application/json").json()["pair"]:
        met.append(pair["prompt"][0]["content"])
        sent = {"key": pair["key"], "rating": 1}
        client.post("/api/projects/careful/judgments/", sent, content_type="application/json")
    assert len(met) == len(set(met)) <= 20
    assert len(set(met)) >= 10, "every ordinary pair"
