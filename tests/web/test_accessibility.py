"""Every page of the site under axe-core: WCAG 2.2 AA and its best practices, wide and narrow, light and dark.

The pages are those of the permission table and of urls.py, so a new page is walked without a line here.
"""

import time
from pathlib import Path

import pytest
from django.urls import URLPattern, reverse
from django.utils import timezone

from annotate.chat.chats import say, start_chat
from annotate.chat.endpoints import add_endpoint
from annotate.datasets.snapshots import create_snapshot
from annotate.labeling.comparisons import NewResponse, add_prompts, add_rankings, add_responses, ranking_of
from annotate.labeling.queue import reserve_next
from annotate.labeling.submit import submit_judgment
from annotate.models import ChatReply, Dataset, Judgment, ModelVersion, Round, Run, RunEvent, User
from annotate.projects import set_guidelines, update_project
from annotate.urls import urlpatterns
from tests.web.conftest import CHROMIUM
from tests.web.test_permissions import PAGES, address, rows  # noqa: F401

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine (Debian: apt install chromium)"),
]

AXE = (Path(__file__).parent.parent / "vendor" / "axe-4.14.1.min.js").read_text(encoding="utf-8")
RUN_AXE = "async () => (await axe.run({resultTypes: ['violations']})).violations"
# Pages outside of projects, and who opens them; what is no page has no reader.
OUTSIDE = {
    "home": "annotator", "login": None, "logout": "", "password": "annotator", "account": "annotator",
    "account_keys": "", "account_language": "", "project_new": "root", "api_reference": "annotator",
}  # fmt: skip
WIDE, NARROW = 1280, 390
# A colour on its way from one theme to the other has no contrast to speak of.
STILL = {"reduced_motion": "reduce"}
RICH = """## A heading

Some *words* with a [link](https://example.org/a), `code`, and $\\\\frac{1}{2}$.

| a | b |
|---|--:|
| 1 | 2 |

```python
def f(x: int) -> str:  # a comment
    return "text" + str(1.5)
```

> Quoted ~~words~~

![a chart](https://example.org/c.png)
"""


@pytest.fixture
def full(rows, project, pairs):  # noqa: F811
    """Besides the least row of everything: judged pairs, a trained model, runs in every state, a round, a dataset."""
    pairs(6, texts=(RICH, RICH.replace("Some", "Other")))
    for number, name in enumerate(("annotator", "admin")):
        user = User.objects.get(username=name)
        for rating in (1, 2, 4):
            submit_judgment(user, reserve_next(project, user).key, (rating + number) % 4 + 1, helpful=1, note="a note")
    policy = ModelVersion.objects.get(pk=rows["model"])
    ended = {"finished_at": timezone.now(), "started_at": timezone.now(), "log_tail": "the end"}
    Run.objects.create(project=project, recipe="sft", base_model=policy, state="failed", error="No disk.", **ended)
    trained = Run.objects.create(project=project, recipe="reward", base_model=policy, state="succeeded", **ended)
    reward = ModelVersion.objects.create(
        project=project, kind="reward", name="reward-1", source="x", parent=policy, run=trained,
        metrics={"accuracy_heldout": 0.71, "loss_heldout": 0.6},
    )  # fmt: skip
    project.policy, project.reward_model = policy, reward
    project.save()
    dataset = create_snapshot(project, Dataset.Kind.PREFERENCES)
    Dataset.objects.create(project=project, kind="prompts", state="being_made", rows=1000)
    Dataset.objects.create(project=project, kind="judgments", state="failed", error="No disk.")
    running = Run.objects.create(
        project=project, recipe="dpo", base_model=policy, dataset=dataset, state="running", step=40, total_steps=100,
        lease_until=timezone.now() + timezone.timedelta(hours=1), started_at=timezone.now(), log_tail="step 40",
        phase="training",
    )  # fmt: skip
    asked = [{"role": "user", "content": "Why?"}]
    now = time.time()
    for number, (kind, step, data) in enumerate(
        [
            ("start", 0, {"total": 100, "resumed_from": None, "time": now - 40}),
            ("metrics", 20, {"values": {"loss": 0.6, "logp_chosen": -12.5}, "time": now - 20}),
            ("samples", 20, {"rows": [{"prompt": asked, "before": RICH, "after": "Because."}], "time": now - 20}),
            ("metrics", 40, {"values": {"loss": 0.5, "logp_chosen": -13.5}, "time": now}),
            ("message", 40, {"level": "warning", "text": "A warning", "time": now}),
        ],
        1,
    ):
        RunEvent.objects.create(run=running, number=number, kind=kind, step=step, data=data)
    generation = Run.objects.create(project=project, recipe="generate", base_model=policy)
    Round.objects.create(project=project, number=1, policy=policy, run=generation)
    return {**rows, "run": running.pk, "dataset": dataset.pk}


def own_judgment(username: str) -> str:
    """The address of a judgment of this person's, to read again."""
    judgment = Judgment.objects.filter(annotator__username=username).first()
    return reverse("label_judgment", args=["kind", judgment.pk])


def violations(page) -> list[str]:
    """What axe-core finds on the page, in both themes, wide and narrow: a line each with where it is."""
    page.evaluate(AXE)
    found = []
    for width in (WIDE, NARROW):
        page.set_viewport_size({"width": width, "height": 800})
        for theme in ("light", "dark"):
            page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
            for problem in page.evaluate(RUN_AXE):
                places = ["  ".join([*node["target"], node["html"][:160]]) for node in problem["nodes"][:4]]
                found.append(f"{theme} {width}: {problem['id']}: {problem['help']}\n    " + "\n    ".join(places))
    page.set_viewport_size({"width": WIDE, "height": 800})
    return found


def walk(open_page, username, addresses) -> dict[str, list[str]]:
    """Address -> what is wrong there."""
    page = open_page(username, "/login/", **STILL)
    host = page.url.split("/", 3)
    report = {}
    for path in addresses:
        answer = page.goto(f"{host[0]}//{host[2]}{path}")
        if "text/html" in answer.headers.get("content-type", "") and page.query_selector("main"):
            report[path] = violations(page)
    return report


def complain(report: dict[str, list[str]]) -> None:
    lines = [f"{path}\n  " + "\n  ".join(found) for path, found in report.items() if found]
    assert not lines, "\n".join(lines)


def test_every_address_outside_of_projects_is_known():
    names = {pattern.name for pattern in urlpatterns if isinstance(pattern, URLPattern)}
    assert names == set(OUTSIDE), "a new address needs its line in OUTSIDE: who opens it, or an empty name for no page"


def test_pages_outside_of_projects(open_page, full):
    for reader in ("annotator", "root", None):
        pages = [reverse(name) for name, who in OUTSIDE.items() if who == reader]
        report = walk(open_page, reader, [*pages, "/nowhere/"])
        assert len(report) == len(pages) + 1, list(report)
        complain(report)


@pytest.mark.parametrize("role", ["admin", "researcher", "annotator"])
def test_pages_of_a_project(open_page, full, role):
    # What an admin sees holds everything that a researcher sees; the others get what is made for them.
    own = {"researcher": {"project", "runs", "models"}, "annotator": {"label", "label_history", "guidelines", "data"}}
    pages = [
        address(name, arguments, full)
        for name, arguments, allowed in PAGES
        if name != "dataset_download" and (role == "admin" or name in own[role])
    ]
    if role != "researcher":
        pages.append(own_judgment(role))
    complain(walk(open_page, role, pages))


def test_an_empty_project(open_page, project):
    empty = ["project", "label", "label_history", "data", "datasets", "runs", "models", "rounds", "quality", "people"]
    complain(walk(open_page, "admin", [reverse(name, args=["kind"]) for name in empty]))


@pytest.mark.parametrize("known", [False, True])
def test_guidelines_to_be_read_before_the_next_pair(open_page, pairs, project, known):
    """Of somebody who is new, and of somebody who knows the version before."""
    pairs(1)
    first = project.guideline_versions.get()
    set_guidelines(project, User.objects.get(username="root"), "# Others\n\n## A part\n\nRead on.")
    project.memberships.update(acknowledged=first if known else None)
    page = open_page("annotator", "/p/kind/label/", **STILL)
    assert page.locator(".held-up-card h1").inner_text() == ("The guidelines have changed" if known else "Guidelines")
    complain({"/p/kind/label/": violations(page)})


def test_what_opens_on_the_labeling_page(open_page, pairs):
    """Differences marked, the keys' overlay, the skip menu, the menu of the top bar, long texts in boxes."""
    pairs(1, texts=(RICH * 6, RICH.replace("a comment", "another").replace("words", "letters") * 6))
    page = open_page("annotator", "/p/kind/label/", **STILL)
    page.keyboard.press("g")
    page.keyboard.press("d")
    page.keyboard.press("s")
    assert page.locator(".differs").count() and page.locator(".boxed").count()
    found = violations(page)
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    found += violations(page)
    page.keyboard.press("Escape")
    page.click(".topbar summary")
    found += violations(page)
    assert not found, "\n".join(found)


def test_rankings_and_everything_that_a_project_may_ask(open_page, pairs, project):
    type(project).objects.update(
        allow_equal=True, allow_both_bad=True, ask_confidence=True, ask_overall=True, ask_flags=True, ask_edited=True,
        require_note=True,
    )  # fmt: skip
    pairs(1, texts=(RICH, RICH.replace("Some", "Other")))
    page = open_page("annotator", "/p/kind/label/", **STILL)
    page.keyboard.press("g")
    page.keyboard.press("f")
    found = violations(page)
    page.fill("[name=note]", "why")
    page.check("[name=rating][value='5']", force=True)
    page.click(".actions > .primary")
    page.wait_for_selector("#undo")
    page.click("#undo")
    page.wait_for_selector(".editing")
    found += violations(page)

    (prompt,) = add_prompts(project, [[{"role": "user", "content": "Rank"}]]).rows
    written = add_responses(project, [NewResponse(prompt, f"{RICH} {number}", "m") for number in range(9)]).rows
    add_rankings(project, [ranking_of(written)])
    page.goto(page.url.split("edit/")[0])
    page.keyboard.press("3")
    page.click("summary:has-text('About A')")
    found += violations(page)
    assert not found, "\n".join(found)


def test_a_conversation_before_while_and_after_the_models_answer(open_page, project):
    update_project(project, User.objects.get(username="root"), chat=True)
    add_endpoint(
        project, User.objects.get(username="root"), name="one", base_url="http://127.0.0.1:9/v1", model_name="one"
    )
    annotator = User.objects.get(username="annotator")
    chat = start_chat(project, annotator)
    path = reverse("chat_show", args=["kind", chat.key])
    report = {"before": walk(open_page, "annotator", [path])[path]}
    say(annotator, chat.key, "6b4ff8ba-6d3c-4a4a-a0f4-0a7f8c0a3c01", "Why?")
    report["while"] = walk(open_page, "annotator", [path])[path]
    ChatReply.objects.update(state=ChatReply.State.DONE, text=RICH, finished_at=timezone.now())
    report["after"] = walk(open_page, "annotator", [path])[path]
    complain(report)
