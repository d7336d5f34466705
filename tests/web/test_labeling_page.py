"""The labeling page: with and without HTMX, blind, idempotent, and the next pair in the same response."""

import re
import uuid
from datetime import timedelta

import pytest
from django.utils import timezone
from django.utils.html import escape

from annotate.labeling.admission import pause
from annotate.labeling.comparisons import NewResponse, add_comparisons, add_prompts, add_responses, pairs_of
from annotate.models import Comparison, Judgment, Project, Reservation, Response, Skip, Slot, User
from annotate.models.comparison import text_digest
from annotate.projects import set_guidelines, update_project
from tests.web.conftest import GENERATORS

HTMX = {"HX-Request": "true"}
URL = "/p/kind/label/"

# Session, person, role with project; standing; the reservation (7, of which 2 are its savepoint); progress (4);
# guidelines (2).
QUERIES_OF_A_PAGE = 12
QUERIES_OF_A_SUBMIT = 19


def key_of(html: str) -> str:
    return re.search(r'data-key="([^"]+)"', html)[1]


def get(client, **headers) -> str:
    return client.get(URL, headers=headers).content.decode()


def judge(client, key, rating=1, htmx=True, **fields):
    return client.post(URL, {"key": key, "rating": rating, **fields}, headers=HTMX if htmx else {})


def test_the_page_shows_prompt_and_both_responses_in_the_order_of_the_reservation(browser, pairs):
    pairs(1)
    html = get(browser("annotator"))
    reservation = Reservation.objects.get(key=key_of(html))
    assert "Question 0" in html
    assert html.index(reservation.left.text) < html.index(reservation.right.text)
    assert html.index('id="response-a"') < html.index(reservation.left.text) < html.index('id="response-b"')
    for label in ("A is better", "A is slightly better", "B is slightly better", "B is better", "truly close"):
        assert label in html


@pytest.mark.parametrize("swapped", [False, True])
def test_a_swapped_reservation_shows_the_second_response_as_a(browser, pairs, swapped):
    (comparison,) = pairs(1)
    client = browser("annotator")
    get(client)
    Reservation.objects.update(swapped=swapped)
    html = get(client)
    shown_as_a = comparison.second if swapped else comparison.first
    a, b = html.index('id="response-a"'), html.index('id="response-b"')
    assert a < html.index(shown_as_a.text) < b


def test_nothing_in_the_page_tells_who_wrote_a_response(browser, project):
    """Not its generator's name, and no number that says which of the two was stored first."""
    ids = iter(range(9_100_000_001, 9_100_000_100))
    for number in range(2):
        (prompt,) = add_prompts(project, [[{"role": "user", "content": f"Question {number}"}]]).rows
        responses = [
            Response.objects.create(pk=next(ids), prompt=prompt, text=text, digest=text_digest(text), generator=name)
            for text, name in zip(("First text", "Second text"), GENERATORS, strict=True)
        ]
        (comparison,) = add_comparisons(project, list(pairs_of(responses))).rows
        Comparison.objects.filter(pk=comparison.pk).update(group="secret-group")
    client = browser("annotator")
    first = get(client)
    second = judge(client, key_of(first)).content.decode()
    for html in (first, second):
        assert "First text" in html
        assert "secret" not in html
        assert "91000000" not in html
        form = re.search(r'<form id="judge".*?</form>', html, re.S)[0]
        hidden = re.findall(r'<input type="hidden" name="(\w+)"', form)
        assert sorted(hidden) == ["csrfmiddlewaretoken", "guideline", "key"]


def test_a_submit_stores_the_judgment_and_answers_with_the_next_pair(browser, pairs):
    pairs(2)
    client = browser("annotator")
    key = key_of(get(client))
    response = judge(client, key, 3, helpful="1", truthful="0", harmless="-1", note="  close call ")
    html = response.content.decode()
    judgment = Judgment.objects.get()
    assert (judgment.rating, judgment.helpful, judgment.truthful, judgment.harmless) == (3, 1, 0, -1)
    assert (judgment.winner, judgment.note) == (judgment.right, "close call")
    assert judgment.seconds >= 0
    assert key_of(html) != key
    assert "<html" not in html, "the answer is a part of the page, not a page"
    assert '<div id="queue-progress" class="queue-progress" hx-swap-oob="true">' in html
    assert re.search(r'id="announcer" hx-swap-oob="innerHTML">Saved\. Next comparison\. 1 done\.', html)
    assert "<strong>1</strong> by you" in html and "1 of 2 judgments" in html


def test_without_javascript_a_submit_redirects_to_the_next_pair(browser, pairs):
    pairs(2)
    client = browser("annotator")
    key = key_of(get(client))
    response = judge(client, key, htmx=False)
    assert (response.status_code, response.url) == (302, URL)
    assert Judgment.objects.count() == 1
    html = get(client)
    assert key_of(html) != key
    assert "Saved." in html


def test_the_same_submit_twice_stores_once_and_goes_on(browser, pairs):
    pairs(2)
    client = browser("annotator")
    key = key_of(get(client))
    first = judge(client, key, 1).content.decode()
    again = judge(client, key, 4)
    assert again.status_code == 200
    assert key_of(again.content.decode()) == key_of(first)
    assert Judgment.objects.get().rating == 1


@pytest.mark.parametrize("fields", [{}, {"rating": "0"}, {"rating": "5"}, {"rating": "x"},
                                    {"rating": "1", "helpful": "7"}, {"rating": "1", "note": "n" * 5001}])  # fmt: skip
def test_a_wrong_submit_changes_nothing_and_leaves_the_page_as_it_is(browser, pairs, fields):
    pairs(1)
    client = browser("annotator")
    key = key_of(get(client))
    response = client.post(URL, {"key": key, **fields}, headers=HTMX)
    assert response.status_code == 422
    assert (response["HX-Retarget"], response["HX-Reswap"]) == ("#form-error", "innerHTML")
    assert "Nothing was saved" in response.content.decode()
    assert not Judgment.objects.exists()
    plain = client.post(URL, {"key": key, **fields}, follow=True).content.decode()
    assert 'class="notice error"' in plain
    assert key_of(plain) == key


def test_somebody_elses_key_is_refused(browser, pairs):
    pairs(2)
    theirs = key_of(get(browser("admin")))
    client = browser("annotator")
    for key in (theirs, str(uuid.uuid4()), "nonsense", ""):
        assert judge(client, key).status_code == 422
    assert not Judgment.objects.exists()


def test_a_skip_needs_a_reason_and_brings_the_next_pair(browser, pairs):
    pairs(2)
    client = browser("annotator")
    key = key_of(get(client))
    assert client.post(f"{URL}skip/", {"key": key}, headers=HTMX).status_code == 422
    assert not Skip.objects.exists()
    sent = {"key": key, "reason": "broken", "note": "no text"}
    html = client.post(f"{URL}skip/", sent, headers=HTMX).content.decode()
    skip = Skip.objects.get()
    assert (skip.reason, skip.note, skip.annotator.username) == ("broken", "no text", "annotator")
    assert key_of(html) != key
    assert "Skipped. Next comparison." in html


def test_a_lost_session_answers_401_to_htmx_so_that_the_page_and_its_note_stay(browser, pairs):
    pairs(1)
    client = browser("annotator")
    key = key_of(get(client))
    client.logout()
    assert judge(client, key).status_code == 401


def test_looking_at_a_pair_keeps_it_reserved(browser, pairs):
    pairs(1)
    client = browser("annotator")
    key = key_of(get(client))
    slot = Reservation.objects.get(key=key).slot
    before = slot.free_from
    assert client.post(f"{URL}renew/{key}/").status_code == 204
    slot.refresh_from_db()
    assert slot.free_from > before


def test_nothing_left_and_all_reserved_are_told_apart(browser, pairs):
    empty = get(browser("annotator"))
    assert "No comparisons yet" in empty
    pairs(1)
    holder = browser("admin")
    key = key_of(get(holder))
    waiting = get(browser("annotator"))
    assert "somebody else" in waiting
    assert 'hx-trigger="every 15s"' in waiting
    judge(holder, key)
    done = get(browser("annotator"))
    assert "Nothing left for you here" in done
    assert "hx-trigger" not in done


def test_the_waiting_page_gets_the_pair_as_soon_as_one_is_free(browser, pairs):
    pairs(1)
    client = browser("annotator")
    polled = get(client, **HTMX)
    assert key_of(polled)
    assert "<html" not in polled
    assert "Next comparison" in polled


def test_guidelines_open_the_first_time_and_when_they_changed(browser, pairs, project):
    pairs(4)
    client = browser("annotator")
    panel = re.compile(r'<aside id="guidelines"[^>]*>')
    first = get(client)
    assert " data-new" in panel.search(first)[0]
    assert " hidden" not in panel.search(first)[0]
    html = judge(client, key_of(first), guideline="1").content.decode()
    assert not panel.search(html), "unchanged guidelines are not sent again: the panel keeps its place"
    assert " hidden" in panel.search(get(client))[0]

    root = User.objects.get(username="root")
    update_project(project, root, must_acknowledge_guidelines=False)
    set_guidelines(project, root, "# New rules")
    html = judge(client, key_of(html), guideline="1").content.decode()
    assert 'hx-swap-oob="true"' in panel.search(html)[0]
    assert "New rules" in html
    assert "have changed" in html


def test_changed_guidelines_are_acknowledged_before_the_next_pair(browser, pairs, project):
    pairs(3)
    client = browser("annotator")
    html = get(client)
    root = User.objects.get(username="root")
    set_guidelines(project, root, "One rule: be kind.")
    set_guidelines(project, root, "One rule: be very kind.", minor=True)
    html = judge(client, key_of(html), guideline="1").content.decode()
    assert Judgment.objects.count() == 1, "what was on the screen is kept"
    assert "data-key=" not in html
    assert "be very kind" in html.replace("<ins>", "")
    assert "<del>" in html, "what changed since the version judged under"
    assert "data-key=" not in get(client)

    client.post(URL + "acknowledge/", {"number": "1"})
    assert "data-key=" not in get(client), "an old version does not do"
    assert client.post(URL + "acknowledge/", {"number": "3"}).url == URL
    html = get(client)
    assert key_of(html)
    assert "data-new" not in html, "just read, the panel stays closed"


def test_a_paused_person_reads_why_and_gets_nothing(browser, pairs, project):
    pairs(2)
    client = browser("annotator")
    key = key_of(get(client))
    pause(project, User.objects.get(username="annotator"), user=User.objects.get(username="root"), note="Call me <b>.")
    html = judge(client, key).content.decode()
    assert Judgment.objects.count() == 1
    assert "A pause for you" in html
    assert "Call me &lt;b&gt;." in html
    assert "data-key=" not in html


def test_what_people_wrote_cannot_run_in_the_page(browser, pairs):
    attack = "<script>alert(1)</script><img src=x onerror=alert(2)> [x](javascript:alert(3)) ![t](http://evil.example/t.png)"
    pairs(1, texts=(attack, attack + " B"), prompt=attack)
    client = browser("annotator")
    html = get(client)
    assert html.count(escape("<script>alert(1)</script>").replace("&#x27;", "'")) >= 3
    body = html[html.index("<body") :]
    assert "<script" not in body
    assert "<img" not in body
    assert not re.search(r'(src|href)="(javascript:|http://evil.example/t.png" src)', body)
    # As a note in the history as well.
    judge(client, key_of(html), note=attack)
    history = client.get("/p/kind/label/history/").content.decode()
    assert "<script" not in history[history.index("<body") :]
    assert escape("<img src=x onerror=alert(2)>") in history


def test_the_history_shows_ones_own_judgments_only(browser, pairs):
    pairs(1)
    annotator, admin = browser("annotator"), browser("admin")
    judge(annotator, key_of(get(annotator)), 2, note="mine")
    own = annotator.get("/p/kind/label/history/").content.decode()
    assert "mine" in own
    assert "A is slightly better" in own
    assert not [name for name in GENERATORS if name in own]
    assert "Nothing judged yet" in admin.get("/p/kind/label/history/").content.decode()


def test_the_history_is_bounded_pages_without_the_texts_which_are_one_click_away(browser, pairs):
    pairs(27, texts=("A first " * 300, "A second " * 300), prompt="Asked")
    client = browser("annotator")
    for number in range(27):
        judge(client, key_of(get(client)), 1 + number % 4, note=f"noted {number} " + "and so on " * 40)
    newest = client.get(f"{URL}history/").content.decode()
    oldest = client.get(f"{URL}history/?page=2").content.decode()
    assert "27 judgments" in newest and "Page 1 of 2" in newest
    assert newest.count("Asked") == 2 * 25 and "A first" not in newest, "a name and what a link is for"
    assert "noted 26" in newest and "noted 1 " not in newest and "noted 1 " in oldest
    assert ("and so on " * 40).strip() not in newest

    judgment = Judgment.objects.get(note__startswith="noted 26")
    path = f"{URL}history/{judgment.pk}/"
    assert f'href="{path}"' in newest
    html = client.get(path).content.decode()
    for words in (judgment.left.text.strip(), judgment.right.text.strip(), judgment.note, "B is slightly better"):
        assert words in html
    chosen = html.index("chosen")
    assert html.index(judgment.left.text.strip()) < chosen < html.index(judgment.right.text.strip())
    assert f"/label/edit/{judgment.pk}/" in html
    assert not [name for name in GENERATORS if name in html]
    assert browser("admin").get(path).status_code == 404, "somebody else's"


def test_a_late_judgment_that_nobody_waits_for_is_kept_and_said(browser, pairs, project):
    """The lease ran out while the page was open, and somebody else has judged the pair."""
    pairs(1)
    annotator, admin = browser("annotator"), browser("admin")
    key = key_of(get(annotator))
    Slot.objects.update(free_from=timezone.now() - timedelta(seconds=1))
    judge(admin, key_of(get(admin)))
    html = judge(annotator, key).content.decode()
    assert "Saved as an extra judgment: the pair had been given to somebody else meanwhile." in html
    assert Judgment.objects.filter(slot=None).get().annotator.username == "annotator"
    again = judge(annotator, key, htmx=False).wsgi_request
    assert "Saved as an extra judgment" in annotator.get(again.path).content.decode()


def test_long_turns_fold_and_long_conversations_show_their_end(browser, project):
    long = "word " * 400
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": long},
        {"role": "assistant", "content": "Noted."},
        {"role": "user", "content": "Now?"},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "Then go."},
    ]
    (prompt,) = add_prompts(project, [messages]).rows
    responses = add_responses(project, [NewResponse(prompt, "a", "x"), NewResponse(prompt, "b", "y")]).rows
    add_comparisons(project, list(pairs_of(responses)))
    html = get(browser("annotator"))
    assert "3 earlier turns" in html
    assert html.count('class="fold"') == 1
    assert html.index("Be brief.") < html.index("Now?") < html.index("Then go.")


def test_the_form_that_is_kept_is_the_projects_and_the_persons_own(browser, pairs, project):
    """What is drawn once comes again only where all that it says is the same."""
    pairs(3)
    client = browser("annotator")
    hint = '<kbd class="hint" aria-hidden="true">{}</kbd>'.format
    key = key_of(get(client))
    Project.objects.filter(pk=project.pk).update(allow_equal=True, ask_confidence=False)
    html = judge(client, key).content.decode()
    assert 'name="rating" value="0"' in html and 'name="confidence"' not in html and hint("S") in html
    User.objects.filter(username="annotator").update(keys={"skip": "x"}, language="de")
    Project.objects.filter(pk=project.pk).update(allow_equal=False, ask_confidence=True)
    html = judge(client, key_of(html)).content.decode()
    assert 'name="rating" value="0"' not in html and 'name="confidence"' in html
    assert hint("X") in html and hint("S") not in html and "Skip this pair" not in html


def test_the_number_of_queries_does_not_grow(browser, pairs, django_assert_num_queries):
    pairs(30)
    client = browser("annotator")
    get(client)  # the first look reserves
    with django_assert_num_queries(QUERIES_OF_A_PAGE):
        key = key_of(get(client))
    for _ in range(10):
        key = key_of(judge(client, key).content.decode())
    with django_assert_num_queries(QUERIES_OF_A_PAGE):
        get(client)
    with django_assert_num_queries(QUERIES_OF_A_SUBMIT):
        judge(client, key)


@pytest.mark.parametrize("htmx", [True, False])
def test_another_verdict_from_a_second_tab_says_that_the_first_one_stands(browser, pairs, htmx):
    pairs(3)
    client = browser("annotator")
    key = key_of(get(client))
    judge(client, key, 1, note="no\0thing")
    assert "that stands" not in judge(client, key, 1, note="nothing").content.decode(), "the same again"
    answer = judge(client, key, 4, htmx=htmx, note="nothing")
    html = answer.content.decode() if htmx else get(client)
    assert "said something else: that stands." in html
    assert "Saved." not in html
    judgment = Judgment.objects.get()
    assert (judgment.rating, judgment.note) == (1, "nothing")
    if htmx:
        assert f'href="{URL.replace("label/", "label/edit/")}{judgment.pk}/">Change it' in html
        ahead = key_of(client.post(f"{URL}ahead/", {"key": key_of(html)}).content.decode())
        around = judge(client, key, 4, ahead=ahead).content.decode()
        assert '<div id="form-error" hx-swap-oob="innerHTML">' in around and "that stands" in around


def test_without_javascript_a_refused_form_comes_back_as_it_was_filled_in(browser, pairs, project):
    staff = User.objects.get(username="root")
    update_project(project, staff, ask_edited=True, ask_flags=True, ask_overall=True, ask_confidence=True)
    pairs(2)
    client = browser("annotator")
    key = key_of(get(client))
    said = {"rating": 2, "helpful": "-1", "confidence": 3, "overall-1": "6", "flags-0": "4", "edited": "My <b> text"}
    answer = client.post(URL, {"key": key, "note": "x" * 5001, **said})
    html = answer.content.decode()
    assert answer.status_code == 422 and key_of(html) == key
    assert "A note has at most 5000 characters" in html and "x" * 5001 in html
    assert "My &lt;b&gt; text" in html
    for name, value in said.items():
        assert name == "edited" or re.search(rf'name="{name}" value="{value}"[^>]*checked', html), name
    assert not Judgment.objects.exists()
    assert client.post(URL, {"key": key, "rating": "worse", "overall-0": "x", "flags-0": "y"}).status_code == 422
