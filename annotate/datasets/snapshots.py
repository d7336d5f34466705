"""Snapshots: a project's data frozen as a file of JSON lines that is named by its digest and never changes.

Few rows are frozen in the request that asks, many by a worker (tasks.py); a management command makes its own. All three
ask for a row, claim it and `make` it.
"""

import contextlib
import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Max, ProtectedError, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate import access
from annotate.background import claims
from annotate.datasets.lines import PEOPLE, Line, at_most, checked_options, lines_of, told_of
from annotate.errors import UserError
from annotate.labeling.locks import lock_project
from annotate.models import Dataset, Project
from training.records import iter_rows

# Up to so many rows are read within a request: a second's work.
AT_ONCE = 2000
# Lines between two looks whether going on is of use.
LOOK_EVERY = 1000
WAIT_SECONDS = 0.2


def create_snapshot(
    project: Project,
    kind: str,
    *,
    votes: str = "majority",
    ties: bool = False,
    edited: bool = False,
    voters: str = PEOPLE,
    user=None,
    note: str = "",
) -> Dataset:
    """Freezes the project's rows of this kind here and now, however many: for commands, not for requests.

    The order depends on the content alone, so equal data, equal SHA-256.
    `votes` is for preferences: "majority" gives a line per pair with its winner, "all" a line per judgment,
    "adjudicated" a line per pair in which an adjudicator's verdict overrides the votes (see votes.py). Ties are counted
    in `facts` and make no line, unless `ties` keeps them as rows of strength "tie". `voters` says whose judgments
    count, in preferences and judgments: those of "people", of one judge ("judge:NAME"), of all "judges", or of
    "everybody". `edited` adds answers that people improved while judging to the demonstrations. A snapshot that would
    be the same as one that is there, and has no other `note`, is not made twice. Gold questions test people and are in
    no snapshot. `user` None is the machine's own administrator.
    Raises UserError for an unknown kind or rule, PermissionDenied for anybody but researchers and admins.
    """
    wish = {"votes": votes, "ties": ties, "edited": edited, "voters": voters}
    while True:
        dataset = _ask(project, kind, wish, user, note)
        while dataset is not None and dataset.is_being_made:
            if (made := _make_here(dataset)) is not None:
                return made
            # A worker, or a request, is at it already; if it dies, its lease ends.
            time.sleep(WAIT_SECONDS)
            dataset = Dataset.objects.select_related("same_as").filter(pk=dataset.pk).first()
        if dataset is not None:
            if not dataset.is_ready:
                raise UserError(dataset.error)
            return dataset.same_as or dataset


def request_snapshot(
    project: Project,
    kind: str,
    *,
    votes: str = "majority",
    ties: bool = False,
    edited: bool = False,
    voters: str = PEOPLE,
    user=None,
    note: str = "",
) -> Dataset:
    """As `create_snapshot`, but no more than AT_ONCE rows are read here; of more the dataset is still being made.

    Asked for again meanwhile it is the same dataset; one that failed is tried again.
    """
    dataset = _ask(project, kind, {"votes": votes, "ties": ties, "edited": edited, "voters": voters}, user, note)
    if at_most(project, kind, AT_ONCE) and (made := _make_here(dataset)) is not None:
        return made
    if dataset.is_waiting and dataset.dispatched_at is None:
        from annotate.datasets.tasks import make_snapshot  # the task's module imports this one

        claims.nudge(dataset, make_snapshot)
    return dataset


def try_again(dataset: Dataset, user=None) -> Dataset:
    """A snapshot that failed, asked for once more."""
    return request_snapshot(dataset.project, dataset.kind, user=user, note=dataset.note, **dataset.options)


def make(dataset: Dataset) -> None:
    """Freezes the rows of a claimed dataset. Raises LostOwnership or Stopping (claims.py), or what went wrong."""
    begun, facts, written = timezone.now(), Counter(), [0]
    with claims.kept(dataset, lambda: {"rows": written[0]}) as look, _one_moment():
        lines = lines_of(dataset.project, dataset.kind, dataset.options, facts)
        sha256 = _write(dataset, _watched(lines, look, written))
    told = told_of(dataset.options) | facts
    with transaction.atomic():
        lock_project(dataset.project)
        there = snapshots_of(dataset.project).filter(kind=dataset.kind, state=Dataset.State.READY)
        same = there.filter(sha256=sha256, facts=told)
        if same := (same.filter(note=dataset.note) if dataset.note else same).order_by("pk").first():
            claims.finish(dataset, same_as=same, rows=0)
            return
        number = (there.aggregate(last=Max("number"))["last"] or 0) + 1
        claims.finish(dataset, number=number, rows=written[0], sha256=sha256, facts=told, created_at=begun)


def snapshots_of(project: Project) -> QuerySet[Dataset]:
    """All that were asked for, whether they are ready or not; newest first."""
    return project.datasets.filter(same_as=None).order_by("-id")


def ready_snapshots_of(project: Project) -> QuerySet[Dataset]:
    """What a run can start on; newest first."""
    return snapshots_of(project).filter(state=Dataset.State.READY)


def dataset_path(dataset: Dataset) -> Path:
    """Where the lines lie. Raises UserError if they are not there yet, or gone."""
    if not dataset.is_ready:
        raise UserError(_("This dataset is not ready yet, so it has no rows."), field="dataset")
    path = settings.DATASETS_DIR / f"{(dataset.same_as or dataset).sha256}.jsonl"
    if not path.is_file():
        raise UserError(
            _("The rows of %(dataset)s are missing: there is no file %(path)s.") % {"dataset": dataset, "path": path}
        )
    return path


def rows(dataset: Dataset) -> Iterator[Line]:
    """The lines of a snapshot, one at a time."""
    return (row for _line, row in iter_rows(dataset_path(dataset)))


def _ask(project: Project, kind: str, wish: dict, user, note: str) -> Dataset:
    """The row of what is asked for: a new one, the one that is being made already, or the one that failed."""
    if user is not None:
        access.require(user, project, access.Role.RESEARCHER)
    options = checked_options(kind, **wish)
    if len(note) > 200:
        raise UserError(_("A note has at most 200 characters."), field="note")
    with transaction.atomic():
        lock_project(project)
        for dataset in project.datasets.filter(kind=kind, note=note).exclude(state=Dataset.State.READY):
            if dataset.options == options:
                claims.ask(Dataset.objects.filter(pk=dataset.pk))
                dataset.refresh_from_db()
                return dataset
        return Dataset.objects.create(
            project=project, kind=kind, options=options, note=note, created_by=user, state=Dataset.State.BEING_MADE
        )


def _make_here(dataset: Dataset) -> Dataset | None:
    """The snapshot that is made, or the one that is there and the same; None where somebody else is at it."""
    mine = claims.claim(Dataset, dataset.pk)
    if mine is None:
        return None
    try:
        make(mine)
    except BaseException as error:
        # Who asked is told at once, so the row has nothing left to tell, unless a run waits for it already.
        try:
            claims.owned(mine).delete()
        except ProtectedError:
            claims.fail(mine, claims.reason(error))
        raise
    mine.refresh_from_db()
    if mine.same_as is None:
        return mine
    with contextlib.suppress(ProtectedError):
        Dataset.objects.filter(pk=mine.pk).delete()
    return mine.same_as


@contextlib.contextmanager
def _one_moment() -> Iterator[None]:
    """All that is read inside is of one moment: so it is on SQLite as long as rows are being read."""
    if connection.vendor != "postgresql" or connection.in_atomic_block:
        yield
        return
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def _watched(lines: Iterable[Line], look: Callable[[], None], written: list[int]) -> Iterator[Line]:
    """The same lines, counted in `written`."""
    for line in lines:
        if written[0] % LOOK_EVERY == 0:
            look()
        yield line
        written[0] += 1


def _write(dataset: Dataset, lines: Iterable[Line]) -> str:
    """The SHA-256 of the file. Written aside and renamed: a full disk leaves no file that looks whole."""
    settings.DATASETS_DIR.mkdir(parents=True, exist_ok=True)
    for left in settings.DATASETS_DIR.glob(f".{dataset.pk}-*.part"):  # by an attempt that died
        left.unlink(missing_ok=True)
    aside = settings.DATASETS_DIR / f".{dataset.pk}-{dataset.attempt}.part"
    digest = hashlib.sha256()
    try:
        with open(aside, "xb") as file:
            for line in lines:
                encoded = json.dumps(line, ensure_ascii=False).encode() + b"\n"
                file.write(encoded)
                digest.update(encoded)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o444)
        aside.replace(settings.DATASETS_DIR / f"{digest.hexdigest()}.jsonl")
    finally:
        aside.unlink(missing_ok=True)
    return digest.hexdigest()
