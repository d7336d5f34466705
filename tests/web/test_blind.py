"""Blind by construction: every page and endpoint, opened by an annotator, says nothing about who wrote a response.

Every name of a model, run, file and group in this project begins with "secret", and every response and comparison has
an id that begins with 77007700: neither may be in any body or header.
"""

import itertools
import json
import re

import pytest
from django.db.models import F
from django.urls import URLPattern, URLResolver
from django.utils import timezone

from annotate import urls
from annotate.chat.chats import choose, say, start_chat
from annotate.chat.endpoints import add_endpoint
from annotate.datasets.importing import import_file
from annotate.datasets.snapshots import create_snapshot
from annotate.demonstrations.writing import next_writing, own_writing, submit_demonstration
from annotate.labeling.queue import reserve_next
from annotate.labeling.submit import submit_judgment
from annotate.models import (
    ChatReply,
    Comparison,
    Demonstration,
    GoldQuestion,
    Membership,
    ModelVersion,
    Reservation,
    Response,
    Round,
    Run,
    User,
)
from annotate.projects import update_project
from tests.queue import in_order

TELLING = ("secret", "77007700")
FIRST_ID = 7700770001
KEYS = [f"6b4ff8ba-6d3c-4a4a-a0f4-0a7f8c0a3c{number:02d}" for number in range(10)]


@pytest.fixture
def annotator(project):
    return User.objects.get(username="annotator")


@pytest.fixture
def full(project, annotator, tmp_path):
    """A project with everything that could tell something, and an annotator who has done everything they can."""
    staff = User.objects.get(username="root")
    update_project(
        project, staff, writing=True, own_prompts=True, chat=True, allow_equal=True, ask_edited=True, ask_overall=True,
        ask_flags=True, ask_confidence=True, show_gold_accuracy=True, gold_share=0.3,
    )  # fmt: skip
    in_order(project)
    model = ModelVersion.objects.create(project=project, kind="policy", name="secret-model", source="secret/source")
    run = Run.objects.create(project=project, recipe="sft", base_model=model, title="secret-run")
    batch = Round.objects.create(project=project, number=1, policy=model, run=run, responses_per_prompt=2)
    # What comes from now on has such ids.
    comparisons = tmp_path / "secret-comparisons.jsonl"
    few = [{"text": f"Text {n}", "model": f"secret-{n}"} for n in range(2)]
    many = [{"text": f"Text {n}", "model": f"secret-{n}"} for n in range(4)]
    lines = [{"prompt": f"Question {n}", "responses": many if n % 3 == 0 else few} for n in range(9)]
    with_ids_from(FIRST_ID, project)
    comparisons.write_text("\n".join(map(json.dumps, lines)))
    import_file(project, comparisons, "comparisons", rankings=True)
    Comparison.objects.update(group="secret-group", round=batch)
    votes = tmp_path / "secret-votes.jsonl"
    votes.write_text(json.dumps({"prompt": "Question 1", "chosen": "Text 0", "rejected": "Text 1"}))
    import_file(project, votes, "preferences")
    prompts = tmp_path / "secret-prompts.jsonl"
    prompts.write_text("\n".join(json.dumps({"prompt": f"Write {n}", "answer": "secret-answer"}) for n in range(5)))
    import_file(project, prompts, "prompts")
    gold = Comparison.objects.filter(kind="pair").last()
    GoldQuestion.objects.create(comparison=gold, expected=gold.first, explanation="Because.")
    create_snapshot(project, "preferences", note="secret-note")
    project.policy = model
    project.save(update_fields=["policy"])

    for name in ("secret-one", "secret-two"):
        add_endpoint(project, staff, name=name, base_url="http://127.0.0.1:9/v1", model_name=name)
    chat = start_chat(project, annotator, key=KEYS[0])
    for number, failed in enumerate((False, True)):
        turn = say(annotator, chat.key, KEYS[1 + number], "Hello")
        for reply in turn.replies.all():
            reply.generator, reply.state = "secret-one", ChatReply.State.FAILED if failed else ChatReply.State.DONE
            reply.text, reply.finished_at = f"Reply {reply.side}", timezone.now()
            reply.error = "The model cannot be reached." if failed else ""
            reply.save()
        if not failed:
            choose(annotator, turn.key, 2)
    made = submit_demonstration(annotator, next_writing(project, annotator).key, "An answer.")
    Demonstration.objects.filter(pk=made.pk).update(state="returned")
    next_writing(project, annotator)
    own_writing(project, annotator)
    for _number in range(3):
        drawn = reserve_next(project, annotator)
        ranks = [1, 2, 3, 4] if drawn.comparison.is_ranking else []
        submit_judgment(annotator, drawn.key, None if ranks else 2, ranks=ranks, overall=[3], note="Well.")
    reserve_next(project, annotator)
    return project


def with_ids_from(first: int, project) -> None:
    """The next response and comparison get ids from `first` on."""
    (prompt,) = [project.prompts.create(messages=[{"role": "user", "content": "Ids"}], digest="ids")]
    one, other = (
        Response.objects.create(pk=first + number, prompt=prompt, text=f"Id {number}", digest=str(number))
        for number in range(2)
    )
    Comparison.objects.create(
        pk=first, project=project, prompt=prompt, first=one, second=other, judgments_wanted=0
    )


def addresses(patterns, before=""):
    """Every address of the site, as its parts."""
    for pattern in patterns:
        route = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern):
            yield route


def filled(route: str, annotator, project) -> list[str]:
    """The address with every number, key and word of this person's that may stand in it."""
    last = annotator.judgments.order_by("-id").first()
    demonstration = Demonstration.objects.filter(author=annotator).first()
    keys = [reservation.pk for reservation in Reservation.objects.filter(annotator=annotator)[:1]]
    keys += [writing.pk for writing in annotator.writings.all()[:2]] + KEYS[:3]
    values = {
        "int": [last.pk, demonstration.pk, 1],
        "uuid": keys,
        "slug": [project.slug],
        "str": ["reward", "jsonl", "cancel", "annotator"],
    }
    parts = re.split(r"<(\w+):\w+>", route)
    choices = [values[part] if place % 2 else [part] for place, part in enumerate(parts)]
    return ["/" + "".join(map(str, choice)) for choice in itertools.product(*choices)]


def said(response) -> str:
    body = b"".join(response.streaming_content) if response.streaming else response.content
    return f"{dict(response.headers)}\n{body.decode()}"


@pytest.mark.parametrize("reviews", [False, True])
def test_no_page_and_no_endpoint_tells_who_wrote_what(full, annotator, browser, reviews):
    Membership.objects.filter(user=annotator).update(reviews=reviews)
    client = browser("annotator")
    client.raise_request_exception = True
    opened, telling = 0, []
    for route in addresses(urls.urlpatterns):
        if route.startswith(("logout", "api/schema")):
            continue
        for address in filled(route, annotator, full):
            for send in (client.get, client.post):
                response = send(address)
                opened += response.status_code == 200
                telling += [f"{address} says {word}" for word in TELLING if word in said(response)]
    assert opened > 40, "the addresses are those of this site"
    assert telling == []


def test_what_the_endpoints_answer_to_a_whole_session_tells_nothing(full, annotator, browser):
    client = browser("annotator")
    base, json_body = "/api/projects/kind/", "application/json"
    answers = []

    def send(path, body=None, method="post"):
        answers.append(getattr(client, method)(f"{base}{path}", json.dumps(body or {}), content_type=json_body))
        return answers[-1].json() if answers[-1].content else None

    for _number in range(3):
        pair = send("next/")["pair"]
        ahead = send("next/", {"exclude": [pair["key"]]})["pair"]
        verdict = {"ranks": [1, 2, 3, 4]} if pair["kind"] == "ranking" else {"rating": 1}
        made = send("judgments/", {"key": pair["key"], **verdict})
        send(f"judgments/{made['id']}/", verdict | {"note": "Changed."}, "put")
    send("skips/", {"key": ahead["key"], "reason": "other"})
    writing = send("writings/next/")["writing"]
    send(f"writings/{writing['key']}/draft/", {"completion": "So far."}, "put")
    send("demonstrations/", {"key": writing["key"], "completion": "All."})
    send(f"chat-turns/{KEYS[2]}/retry/")
    assert {answer.status_code for answer in answers} <= {200, 201, 204, 400}
    assert sum(answer.status_code < 300 for answer in answers) > 10
    assert [word for answer in answers for word in TELLING if word in said(answer)] == []


def test_a_response_stands_left_as_often_whichever_was_stored_first(project, pairs):
    """200 fair draws: 70 to 130 heads but for one time in forty thousand."""
    pairs(200)
    annotator = User.objects.get(username="annotator")
    for _number in range(200):
        submit_judgment(annotator, reserve_next(project, annotator).key, 1)
    older_left = annotator.judgments.filter(left__lt=F("right")).count()
    assert 70 <= older_left <= 130
