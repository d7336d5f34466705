"""Projects, their guidelines and their people: what an admin sets up before anybody labels."""

import re
from pathlib import Path

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils.text import slugify
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from annotate import access
from annotate.errors import UserError
from annotate.labeling import order
from annotate.labeling.locks import lock_project
from annotate.models import GuidelineVersion, Membership, Project, User
from annotate.prepared import Prepared, given_id

_newest_guidelines = Prepared(
    lambda: GuidelineVersion.objects.filter(project=given_id("project")).order_by("-number")[:1]
)

DEFAULT_GUIDELINES = Path(__file__).parent / "labeling" / "guidelines.md"  # guidelines.de.md is the German one
LONGEST_LEASE = 86_400
SETTINGS = (
    "name", "description", "judgments_wanted", "lease_seconds", "archived",
    "must_acknowledge_guidelines", "qualification_pass", "qualification_questions",
    "pause_below_gold", "pause_below_seconds", "pause_after", "show_gold_accuracy", "rate_per_hour", "currency",
    "allow_equal", "allow_both_bad", "ask_criteria", "ask_overall", "ask_flags", "ask_confidence", "ask_edited",
    "require_note", "edit_last",
    "writing", "demonstrations_wanted", "own_prompts", "chat",
    "queue_policy", "random_share", "gold_share",
)  # fmt: skip


def default_guidelines() -> str:
    """The text that a new project starts with: helpful, truthful, harmless. In the language of whoever makes it."""
    translated = DEFAULT_GUIDELINES.with_suffix(f".{get_language()}.md")
    return (translated if translated.exists() else DEFAULT_GUIDELINES).read_text(encoding="utf-8")


@transaction.atomic
def create_project(user, *, name: str, **settings) -> Project:
    """As `start_project`, by a person: `user`, who must be staff, becomes the project's admin."""
    access.require_staff(user)
    project = start_project(name=name, created_by=user, **settings)
    Membership.objects.create(project=project, user=user, role=Membership.Role.ADMIN)
    return project


@transaction.atomic
def start_project(
    *,
    name: str,
    slug: str = "",
    description: str = "",
    judgments_wanted: int = 1,
    lease_seconds: int = 1800,
    guidelines: str | None = None,
    created_by: User | None = None,
) -> Project:
    """A project with its first guidelines, and nobody in it yet. Raises UserError that names the wrong setting."""
    project = Project(
        name=name.strip(),
        slug=slug.strip() or slugify(name)[:60],
        description=description.strip(),
        judgments_wanted=judgments_wanted,
        lease_seconds=lease_seconds,
    )
    _check(project)
    _save_unique(project, "slug")
    _new_version(project, created_by, default_guidelines() if guidelines is None else guidelines)
    return project


def update_project(project: Project, user, **settings) -> Project:
    """Changes some of SETTINGS (judgments_wanted of comparisons to come). Raises UserError that names the wrong one."""
    access.require(user, project, access.Role.ADMIN)
    if unknown := settings.keys() - set(SETTINGS):
        raise UserError(
            _("A project has no setting “%(unknown)s”.") % {"unknown": sorted(unknown)[0]}, field=sorted(unknown)[0]
        )
    # On a fresh copy, so that the caller's object keeps its values where a check fails.
    changed = Project.objects.get(pk=project.pk)
    for field, value in settings.items():
        setattr(changed, field, value.strip() if isinstance(value, str) else value)
    _check(changed)
    changed.save(update_fields=list(settings))
    if changed.queue_policy != project.queue_policy:
        order.reorder(changed)
    project.refresh_from_db()
    return project


@transaction.atomic
def set_guidelines(
    project: Project, user, text: str, *, minor: bool = False, based_on: int | None = None
) -> GuidelineVersion:
    """A new version of the guidelines, or the present one where the text is the same.

    Annotators acknowledge it before their next comparison, unless the edit is `minor`: a typo, not another rule.
    Raises UserError if the text is empty, or if version `based_on`, from which the writer began, is not the newest.
    """
    access.require(user, project, access.Role.ADMIN)
    lock_project(project)
    present = current_guidelines(project)
    if present and present.text == _normal(text):
        return present
    if present and based_on is not None and based_on != present.number:
        raise UserError(
            _(
                "Somebody saved version %(number)s while you were writing. Nothing of yours is lost: the preview shows "
                "how your text differs from it, and saving again replaces it."
            )
            % {"number": present.number},
            field="text",
        )
    version = _new_version(project, user, text, minor=minor and present is not None)
    # The first version is read as the guidelines, not as a change of them: its panel opens by itself.
    if present and not minor:
        Project.objects.filter(pk=project.pk).update(must_read=version)
        project.must_read = version
    return version


def current_guidelines(project: Project) -> GuidelineVersion | None:
    return _newest_guidelines.first(project=project.pk)


@transaction.atomic
def add_member(project: Project, username: str, role: str, *, user) -> Membership:
    """Gives the person `username` a role in `project`, in place of the one they had. Raises UserError."""
    access.require(user, project, access.Role.ADMIN)
    role = _role(role)
    person = User.objects.filter(username=username.strip(), is_active=True).first()
    if person is None:
        raise UserError(
            _("There is no account named “%(username)s”.") % {"username": username.strip()}, field="username"
        )
    lock_project(project)
    if role != Membership.Role.ADMIN:
        _refuse_if_last_admin(project, person)
    membership, _created = Membership.objects.update_or_create(project=project, user=person, defaults={"role": role})
    return membership


def set_reviewer(project: Project, username: str, reviews: bool, *, user) -> None:
    """Gives an annotator the right to review what others have written, or takes it. Raises UserError."""
    access.require(user, project, access.Role.ADMIN)
    if not project.memberships.filter(user__username=username).update(reviews=reviews):
        raise UserError(_("%(name)s does not belong to this project.") % {"name": username}, field="username")


@transaction.atomic
def create_account(project: Project, username: str, password: str, role: str, *, user) -> Membership:
    """A new account that may log in, with a role in `project`. Raises UserError for a taken name or a weak password."""
    access.require(user, project, access.Role.ADMIN)
    role = _role(role)
    person = User(username=username.strip())
    if ":" in person.username:
        raise UserError(_("A colon is kept for the annotators of imported data."), field="username")
    try:
        person.clean_fields(exclude=["password"])
        person.validate_unique()
        validate_password(password, person)
    except ValidationError as error:
        fields = getattr(error, "message_dict", None) or {"password": error.messages}
        field, messages = next(iter(fields.items()))
        raise UserError(messages[0], field=field) from None
    person.set_password(password)
    _save_unique(person, "username")
    return Membership.objects.create(project=project, user=person, role=role)


@transaction.atomic
def remove_member(project: Project, person: User, *, user) -> None:
    """Takes the role of `person` away; what they judged stays. Raises UserError for the project's last admin."""
    access.require(user, project, access.Role.ADMIN)
    lock_project(project)
    _refuse_if_last_admin(project, person)
    project.memberships.filter(user=person).delete()


def _refuse_if_last_admin(project: Project, person: User) -> None:
    admins = set(project.memberships.filter(role=Membership.Role.ADMIN).values_list("user", flat=True))
    if admins == {person.pk}:
        raise UserError(_("%(person)s is the only admin of this project.") % {"person": person}, field="username")


def _check(project: Project) -> None:
    if not project.name:
        raise UserError(_("A project needs a name."), field="name")
    try:
        project.full_clean(validate_constraints=False)
        for share in ("qualification_pass", "pause_below_gold"):
            if (value := getattr(project, share)) is not None and not 0 < value <= 1:
                raise ValidationError({share: _("A share lies above 0 and is at most 1: 0.8 is four of five.")})
        if project.pause_below_seconds is not None and project.pause_below_seconds <= 0:
            raise ValidationError({"pause_below_seconds": _("A median time is more than 0 seconds.")})
        if project.rate_per_hour is not None and project.rate_per_hour < 0:
            raise ValidationError({"rate_per_hour": _("An hour costs nothing or more.")})
        if project.lease_seconds < 30:
            raise ValidationError({"lease_seconds": _("A lease lasts at least 30 seconds.")})
        if project.lease_seconds > LONGEST_LEASE:
            raise ValidationError({"lease_seconds": _("A lease lasts at most a day: 86,400 seconds.")})
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        raise UserError(messages[0], field=field) from None


def _save_unique(row: User | Project, field: str) -> None:
    """Stores a new row that was checked; somebody else may have stored one of the same `field` since."""
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError:
        raise UserError(row.unique_error_message(type(row), [field]).messages[0], field=field) from None


def _role(role: str) -> str:
    if role not in Membership.Role.values:
        raise UserError(_("A role is one of %(roles)s.") % {"roles": ", ".join(Membership.Role.values)}, field="role")
    return role


def _normal(text: str) -> str:
    """Browsers send \\r\\n; an edit that changes no line is no edit."""
    return re.sub(r"\r\n?", "\n", text).strip() + "\n"


def _new_version(project: Project, user, text: str, *, minor: bool = False) -> GuidelineVersion:
    text = _normal(text)
    if not text.strip():
        raise UserError(_("Guidelines need a text: annotators see it beside every pair."), field="text")
    last = project.guideline_versions.order_by("-number").values_list("number", flat=True).first() or 0
    return GuidelineVersion.objects.create(project=project, number=last + 1, text=text, minor=minor, created_by=user)
