"""German has the longest words of the site's languages: no page is wider than the screen, wide or narrow."""

import pytest
from django.urls import reverse

from tests.web.conftest import CHROMIUM
from tests.web.test_accessibility import OUTSIDE, full  # noqa: F401
from tests.web.test_permissions import PAGES, address, rows  # noqa: F401

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine (Debian: apt install chromium)"),
]


@pytest.mark.parametrize("person", ["admin", "annotator"])
@pytest.mark.parametrize("width", [1280, 390])
def test_german_fits_the_screen(open_page, full, person, width):  # noqa: F811
    pages = [reverse(name) for name, reader in OUTSIDE.items() if reader]
    pages += [address(name, arguments, full) for name, arguments, _ in PAGES if name != "dataset_download"]
    page = open_page(person, "/", width=width, locale="de-DE")
    host = page.url.rstrip("/")
    assert page.get_attribute("html", "lang") == "de"
    too_wide = {}
    for path in pages:
        page.goto(host + path)
        if (needed := page.evaluate("document.documentElement.scrollWidth")) > width:
            too_wide[path] = needed
    assert too_wide == {}
