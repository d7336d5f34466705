"""The table of comparisons: an admin gives a single one its own number of judgments."""

from annotate.labeling.listing import listed
from annotate.models import GoldQuestion, Slot

URL = "/p/kind/data/comparisons/"


def test_an_admin_changes_the_number_of_one(browser, pairs):
    one, _other = pairs(2)
    client = browser("admin")
    assert "2 comparisons, the newest first" in client.get(URL).content.decode()
    page = client.post(f"{URL}{one.pk}/?show=all", {"wanted": "3"}, follow=True)
    assert page.redirect_chain == [(f"{URL}?show=all", 302)]
    assert "Judgments wanted: 3." in page.content.decode()
    assert Slot.objects.filter(comparison=one).count() == 3
    different = client.get(f"{URL}?show=different").content.decode()
    assert "Question 0" in different and "Question 1" not in different


def test_a_wrong_number_changes_nothing(browser, pairs):
    (one,) = pairs(1)
    for wrong in ("51", "-1", "many", "", "9" * 5000):
        page = browser("admin").post(f"{URL}{one.pk}/", {"wanted": wrong}, follow=True)
        assert "wants 0 to 50 judgments" in page.content.decode()
    assert Slot.objects.filter(comparison=one).count() == 1


def test_a_researcher_reads_the_numbers_and_has_no_form(browser, pairs):
    (one,) = pairs(1)
    client = browser("researcher")
    assert "comparison_change" not in client.get(URL).content.decode()
    assert 'name="wanted"' not in client.get(URL).content.decode()
    assert client.post(f"{URL}{one.pk}/", {"wanted": "3"}).status_code == 403


def test_words_of_the_prompt_find_a_comparison_in_any_script(browser, pairs):
    pairs(1, prompt="Über Öl, 潮汐")
    pairs(30, prompt="Other")
    client = browser("admin")
    assert client.get(URL, {"q": "潮汐"}).context["rows"].paginator.count == 1
    found = client.get(URL, {"q": "Other"}).content.decode()
    assert "?q=Other&amp;page=2" in found
    assert "No such comparison" in client.get(URL, {"q": "nowhere"}).content.decode()


def test_every_slice_is_of_the_newest_first_from_whichever_end_it_is_read(project, pairs):
    gold, *made = pairs(8)
    GoldQuestion.objects.create(comparison=gold, expected=gold.first)
    newest_first = [comparison.pk for comparison in made[::-1]]
    for rows in (listed(project), listed(project, containing="Question")):
        assert (len(rows), rows.count()) == (7, 7)
        for start in range(8):
            for stop in range(start, 9):
                assert [row.pk for row in rows[start:stop]] == newest_first[start:stop]
