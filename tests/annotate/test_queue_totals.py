"""Running totals follow whatever happens to the rows, and the number wanted may change while people judge."""

import json
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.core.management.sql import emit_post_migrate_signal
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from annotate.datasets.importing import import_file
from annotate.errors import UserError
from annotate.labeling import counters
from annotate.labeling.comparisons import set_judgments_wanted, withdraw
from annotate.labeling.progress import QueueState, queue_state
from annotate.labeling.queue import release, reserve_next
from annotate.labeling.submit import skip_comparison, submit_judgment
from annotate.models import GoldQuestion, Judgment, PersonTally, Project, ProjectTally, Skip, Slot

pytestmark = pytest.mark.django_db


def test_totals_follow_judgments_skips_imports_and_deletions(project, ada, ben, pairs, tmp_path):
    pairs(4, wanted=2)
    submit_judgment(ada, reserve_next(project, ada).key, 1)
    skip_comparison(ada, reserve_next(project, ada).key, "other")
    submit_judgment(ben, reserve_next(project, ben).key, 4)
    release(reserve_next(project, ben).key, ben)
    assert queue_state(project, ada) == QueueState(judged=1, skipped=1, total_wanted=8, total_done=2)
    path = tmp_path / "votes.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"P{n}", "chosen": "a", "rejected": "b"}) + "\n" for n in range(5)))
    import_file(project, path, "preferences")
    assert queue_state(project, ada).total_wanted == 8, "votes from a file use up no slot"
    assert PersonTally.objects.get(user__username="import:votes").judged == 5
    assert counters.recount(project) == []

    Skip.objects.all().delete()
    judgment = Judgment.objects.get(annotator=ada)
    slot = judgment.slot
    judgment.delete()
    Slot.objects.filter(pk=slot.pk).update(free_from=slot.comparison.created_at, holder=None)
    assert queue_state(project, ada) == QueueState(judged=0, skipped=0, total_wanted=8, total_done=1)
    assert counters.recount(project) == []


def test_a_wrong_total_is_found_and_put_right(project, ada, pairs, capsys):
    pairs(3)
    submit_judgment(ada, reserve_next(project, ada).key, 1)
    ProjectTally.objects.update(wanted=99)
    PersonTally.objects.update(judged=7)
    call_command("recount", project.slug)
    said = capsys.readouterr().out
    assert "99 judgments wanted were counted, there are 3" in said and "ada" in said
    assert queue_state(project, ada) == QueueState(judged=1, skipped=0, total_wanted=3, total_done=1)
    assert counters.recount(project) == []


def test_a_database_back_at_an_earlier_version_keeps_no_triggers_of_this_one(project, ada, pairs):
    """They would write to tables and columns that are not there, and no judgment could be stored."""
    pairs(2)
    recorder = MigrationRecorder(connection)
    newest = recorder.migration_qs.filter(app="annotate").latest("name").name
    for applied in (False, True):
        (recorder.record_applied if applied else recorder.record_unapplied)("annotate", newest)
        counters.remove("default")
        emit_post_migrate_signal(verbosity=0, interactive=False, db="default")
        submit_judgment(ada, reserve_next(project, ada).key, 1)
        assert PersonTally.objects.filter(user=ada, judged=1).exists() == applied


def test_deleting_a_project_leaves_no_total(project, admin, pairs):
    pairs(2)
    Project.objects.filter(pk=project.pk).delete()
    assert not ProjectTally.objects.exists() and not PersonTally.objects.exists()


def test_more_judgments_wanted_than_at_first(project, ada, ben, pairs):
    (only,) = pairs(1)
    submit_judgment(ada, reserve_next(project, ada).key, 1)
    assert reserve_next(project, ben) is None
    set_judgments_wanted(only, 2)
    assert queue_state(project, ada).total_wanted == 2
    assert reserve_next(project, ada) is None
    assert submit_judgment(ben, reserve_next(project, ben).key, 1).slot is not None


def test_fewer_wanted_takes_free_slots_first_and_no_judgment_away(project, ada, ben, person, pairs):
    (only,) = pairs(1, wanted=4)
    submit_judgment(ada, reserve_next(project, ada).key, 1)
    held = reserve_next(project, ben)
    set_judgments_wanted(only, 2)
    assert queue_state(project, ada).total_wanted == 2
    assert reserve_next(project, person("cyd")) is None
    set_judgments_wanted(only, 1)
    judgment = submit_judgment(ben, held.key, 4)
    assert judgment.slot.apart, "kept, and counted by no total"
    state = queue_state(project, ada)
    assert (state.total_wanted, state.total_done) == (1, 1)
    set_judgments_wanted(only, 3)
    assert Slot.objects.filter(comparison=only, apart=False).count() == 3
    assert counters.recount(project) == []


def test_who_judged_while_fewer_were_wanted_counts_when_it_is_more_again(project, ada, ben, person, pairs):
    (only,) = pairs(1, wanted=3)
    people = (ada, ben, person("cyd"))
    keys = [reserve_next(project, user).key for user in people]
    set_judgments_wanted(only, 1)
    for user, key in zip(people, keys, strict=True):
        submit_judgment(user, key, 1)
    assert queue_state(project, ada).total_done == 1
    set_judgments_wanted(only, 3)
    state = queue_state(project, ada)
    assert (state.total_wanted, state.total_done) == (3, 3)
    assert reserve_next(project, person("dan")) is None
    assert counters.recount(project) == []


def test_an_extra_judgment_is_the_next_one_that_is_wanted(project, ada, ben, person, pairs):
    (only,) = pairs(1)
    late = reserve_next(project, ada)
    after = late.slot.free_from + timedelta(seconds=1)
    submit_judgment(ben, reserve_next(project, ben, now=after).key, 1, now=after)
    extra = submit_judgment(ada, late.key, 1, now=after)
    assert extra.slot is None
    set_judgments_wanted(only, 3)
    state = queue_state(project, ada)
    assert (state.total_wanted, state.total_done) == (3, 2)
    extra.refresh_from_db()
    assert (extra.slot.holder, extra.slot.free_from) == (ada, None)
    cyd = person("cyd")
    assert submit_judgment(cyd, reserve_next(project, cyd).key, 1).slot is not None
    assert reserve_next(project, person("dan")) is None
    assert counters.recount(project) == []


def test_gold_and_withdrawn_comparisons_are_in_no_total(project, ada, pairs):
    known, gone, _ = pairs(3)
    withdraw([known, gone])
    GoldQuestion.objects.create(comparison=known, expected=known.first)
    assert queue_state(project, ada).total_wanted == 1
    with pytest.raises(UserError, match="gold question"):
        set_judgments_wanted(known, 2)
    with pytest.raises(UserError, match="0 to 50"):
        set_judgments_wanted(gone, 51)


def test_a_file_says_how_many_are_wanted_and_how_unsure_a_model_is(project, ada, tmp_path):
    path = tmp_path / "pairs.jsonl"
    lines = [
        {"prompt": "Sure", "responses": ["a", "b"], "uncertainty": 0.1},
        {"prompt": "Unsure", "responses": ["a", "b"], "uncertainty": 0.9, "wanted": 3},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    project.queue_policy = "uncertainty"
    project.save()
    import_file(project, path, "comparisons")
    assert queue_state(project, ada).total_wanted == 4
    assert reserve_next(project, ada).comparison.prompt.messages[0]["content"] == "Unsure"
    path.write_text(json.dumps(lines[0] | {"wanted": 2.5}) + "\n")
    with pytest.raises(UserError, match='field "wanted": expected a whole number from 0 to 50'):
        import_file(project, path, "comparisons")
