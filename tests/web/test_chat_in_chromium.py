"""The chat in a real browser: the answers come by themselves, keys choose, a draft outlives a reload."""

import threading

import pytest

from annotate.chat.endpoints import add_endpoint
from annotate.chat.worker import chat_until
from annotate.models import Chat, Judgment, User
from annotate.projects import update_project
from tests.chat_endpoint import fake_endpoint
from tests.servers import NEVER
from tests.web.conftest import CHROMIUM

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine (Debian: apt install chromium)"),
]


@pytest.fixture
def worker(project):
    """The worker's chat thread, with a model that says a piece of a reply for each permit."""
    staff = User.objects.get(username="root")
    update_project(project, staff, chat=True)
    with fake_endpoint() as endpoint:
        endpoint.permits = threading.Semaphore(0)
        add_endpoint(project, staff, name="one", base_url=endpoint.base_url, model_name="one")
        stopping = threading.Event()
        thread = threading.Thread(target=chat_until, args=[stopping])
        thread.start()
        yield endpoint
        stopping.set()
        thread.join(NEVER)


def test_a_conversation_at_the_keyboard(open_page, worker):
    page = open_page("annotator", "/p/kind/chat/", width=390)
    page.click("text=Start a conversation")
    page.wait_for_selector("#text:focus")
    with page.expect_response("**/draft/"):
        page.keyboard.type("Hello")
    page.reload()
    assert page.input_value("#text") == "Hello"
    page.focus("#text")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("text=Waiting for the first words")
    worker.permits.release(2)
    page.wait_for_selector("text=Writing …")
    worker.permits.release(4)
    page.wait_for_selector(".rating")
    assert page.inner_text("#announcer") == "Both answers are there."
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.wait_for_timeout(200)  # some time to read, so that there is some to be counted
    page.keyboard.press("2")
    page.keyboard.press("n")
    page.keyboard.type("It names the 3rd greeting")
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    page.reload()
    assert page.is_checked("[name=rating][value='1']"), "a choice that is not sent yet is kept as well"
    assert page.input_value("[name=note]") == "It names the 3rd greeting"
    page.wait_for_timeout(200)
    page.keyboard.press("3")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Go on")
    judgment = Judgment.objects.get()
    assert judgment.rating == 3
    assert 0 < judgment.active_seconds <= judgment.seconds
    assert Chat.objects.get().turns.count() == 1
    assert page.complaints == []
