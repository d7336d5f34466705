"""The project's menu: sections in the order in which the loop is walked, and the pages of each as tabs."""

from dataclasses import dataclass

from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from annotate import access
from annotate.models import Membership, Project

ANNOTATOR, RESEARCHER, ADMIN = Membership.Role.ANNOTATOR, Membership.Role.RESEARCHER, Membership.Role.ADMIN


@dataclass(frozen=True)
class Entry:
    """A page that stands in the menu.

    `name` is its address's, `within` those of the pages that one reaches through it. `role` sees it (None: any
    member), and only where the project has `feature` on.
    """

    title: str | Promise
    name: str
    role: str | None
    within: tuple[str, ...] = ()
    feature: str | None = None


MENU: list[tuple[str | Promise, list[Entry]]] = [
    (_("Overview"), [Entry(_("Overview"), "project", RESEARCHER)]),
    (
        _("Compare"),
        [
            Entry(_("Compare"), "label", ANNOTATOR),
            Entry(_("My judgments"), "label_history", ANNOTATOR, ("label_judgment", "label_edit")),
            Entry(_("My progress"), "my_progress", ANNOTATOR),
        ],
    ),
    (
        _("Write"),
        [
            Entry(_("Write"), "write", ANNOTATOR, ("write_own",), feature="writing"),
            Entry(_("My texts"), "demonstrations_mine", ANNOTATOR, ("demonstration_revise",), feature="writing"),
            Entry(_("Review"), "demonstrations", access.REVIEWER, ("demonstration_review",), feature="writing"),
        ],
    ),
    (
        _("Chat"),
        [
            Entry(_("Chat"), "chat", ANNOTATOR, ("chat_show",), feature="chat"),
            Entry(_("Models of the chat"), "chat_models", ADMIN, feature="chat"),
        ],
    ),
    (_("Guidelines"), [Entry(_("Guidelines"), "guidelines", None, ("guidelines_edit", "guidelines_version"))]),
    (
        _("Data"),
        [
            Entry(_("Upload"), "data", ADMIN, ("leaks",)),
            Entry(_("Comparisons"), "comparisons", RESEARCHER),
            Entry(_("Datasets"), "datasets", RESEARCHER),
        ],
    ),
    (_("Runs"), [Entry(_("Runs"), "runs", RESEARCHER, ("run", "run_new"))]),
    (_("Models"), [Entry(_("Models"), "models", RESEARCHER)]),
    (_("Rounds"), [Entry(_("Rounds"), "rounds", RESEARCHER, ("round_new",))]),
    (
        _("Quality"),
        [
            Entry(_("Trust"), "quality", RESEARCHER),
            Entry(_("Split votes"), "adjudication", RESEARCHER, ("adjudicate",)),
            Entry(_("Gold questions"), "gold", ADMIN),
            Entry(_("Throughput and cost"), "throughput", ADMIN),
        ],
    ),
    (_("People"), [Entry(_("People"), "people", ADMIN)]),
    (_("Settings"), [Entry(_("Settings"), "settings", ADMIN)]),
]


def menu(request: HttpRequest, project: Project) -> list[dict]:
    """The sections as far as this person may go: title, url, current, and their pages, alike.

    A section leads to the first of its pages. `current` is "page" on the page itself, "true" on one within it.
    """
    here = request.resolver_match.url_name if request.resolver_match else ""
    sections = []
    for title, entries in MENU:
        pages = [
            {
                "title": entry.title,
                "url": reverse(entry.name, args=[project.slug]),
                "current": "page" if here == entry.name else "true" if here in entry.within else "",
            }
            for entry in entries
            if (entry.role is None or entry.role in request.roles)
            and (entry.feature is None or getattr(project, entry.feature))
        ]
        if pages:
            current = next((page["current"] for page in pages if page["current"]), "")
            if current and not pages[0]["current"]:
                current = "true"
            sections.append({"title": title, "url": pages[0]["url"], "current": current, "pages": pages})
    return sections
