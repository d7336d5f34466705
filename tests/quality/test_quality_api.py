"""The REST side of trust: who may, and what comes back."""

import pytest
from django.test import Client
from django.utils import timezone

from annotate.models import Adjudication, GoldQuestion, Slot, User
from tests.quality.conftest import save

API = "/api/projects/careful/"
ADMINS, RESULTS, LABELING = {"admin"}, {"admin", "researcher"}, {"admin", "annotator"}


def client_of(username):
    client = Client()
    client.force_login(User.objects.get(username=username))
    return client


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("gold/", ADMINS), ("standings/", ADMINS), ("progress/", ADMINS), ("splits/", RESULTS), ("standing/", LABELING),
     ("progress/mine/", LABELING)],
)  # fmt: skip
def test_who_may_read(project, path, allowed):
    for person in ("admin", "researcher", "annotator", "outsider"):
        assert client_of(person).get(API + path).status_code == (200 if person in allowed else 403), person


def test_gold_standing_and_adjudication_by_script(project, comparisons, judge):
    admin, ada = client_of("admin"), User.objects.get(username="annotator")
    one, other = comparisons(2)
    given = {"comparison": one.pk, "expected": one.first_id, "explanation": "Plain."}
    made = admin.post(API + "gold/", given, content_type="application/json")
    assert (made.status_code, made.json()["active"]) == (201, True)
    wrong = admin.post(API + "gold/", {"comparison": other.pk, "expected": one.first_id},
                       content_type="application/json")  # fmt: skip
    assert (wrong.status_code, wrong.json()["field"]) == (400, "expected")
    admin.patch(API + f"gold/{made.json()['id']}/", {"active": False}, content_type="application/json")
    assert not GoldQuestion.objects.get().active
    assert admin.get(API + "gold/").json()["results"][0]["answered"] == 0

    paused = admin.post(API + "standings/annotator/", {"do": "pause", "note": "Call me."},
                        content_type="application/json")  # fmt: skip
    assert paused.json() == {"state": "paused", "message": "Call me."}
    assert client_of("annotator").get(API + "standing/").json()["state"] == "paused"
    assert {row["username"]: row["state"] for row in admin.get(API + "standings/").json()}["annotator"] == "paused"
    admin.post(API + "standings/annotator/", {"do": "lift"}, content_type="application/json")
    assert client_of("annotator").get(API + "standing/").json()["state"] == "open"

    rival = User.objects.create_user("rival")
    save([judge(ada, other, picks_first=True, swapped=False), judge(rival, other, picks_first=False, swapped=False)])
    Slot.objects.filter(comparison=other).update(free_from=None, holder=ada)
    assert [row["id"] for row in admin.get(API + "splits/").json()["results"]] == [other.pk]
    url = API + f"splits/{other.pk}/"
    assert admin.put(url, {"rating": 1, "reason": "x"}, content_type="application/json").status_code == 400
    begun = admin.post(url, {"rating": 4}, content_type="application/json").json()
    done = admin.put(url, {"rating": 1, "reason": "It answers."}, content_type="application/json").json()
    assert done["winner"] == begun["a"]
    assert Adjudication.objects.get().decided_at <= timezone.now()
    assert admin.get(API + "progress/").json()["judgments"] == 2
    assert client_of("annotator").get(API + "progress/mine/").json()["judged"] == 1
