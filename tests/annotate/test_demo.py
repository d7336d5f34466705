"""`manage.py demo` and `manage.py train`: run again they change nothing; wrong words are one sentence."""

import json
import os
import stat
import subprocess
import sys

import pytest
from django.conf import settings as django_settings
from django.core.management import call_command
from django.core.management.base import CommandError

from annotate.access import can
from annotate.demo.accounts import ACCOUNTS_FILE, ensure_accounts
from annotate.demo.project import STARTER
from annotate.models import Comparison, Judgment, ModelVersion, Project, Run, User
from annotate.runs import follow
from annotate.runs.directory import run_directory
from tests.annotate.counting import open_for
from tests.annotate.runs_kit import make_model, make_project, use_fake_trainer

pytestmark = pytest.mark.django_db


@pytest.fixture
def accounts_file():
    path = django_settings.VAR_DIR / ACCOUNTS_FILE
    yield path
    path.unlink(missing_ok=True)


def test_the_accounts_can_log_in_with_the_passwords_of_a_private_file(accounts_file, client):
    ensure_accounts()
    assert stat.S_IMODE(accounts_file.stat().st_mode) == 0o600
    passwords = json.loads(accounts_file.read_text())
    assert set(passwords) == {"admin", "annotator", "researcher"} and len(set(passwords.values())) == 3
    for name, password in passwords.items():
        assert client.login(username=name, password=password), name
    assert [user.username for user in User.objects.filter(is_staff=True)] == ["admin"]


def _python(folder, *arguments) -> subprocess.Popen:
    of_tests = {"SECRET_KEY", "DEBUG", "DJANGO_SETTINGS_MODULE"}
    environment = {name: value for name, value in os.environ.items() if name not in of_tests}
    return subprocess.Popen(
        [sys.executable, *arguments], cwd=django_settings.BASE_DIR, text=True,
        env=environment | {"PREFLOOP_VAR": str(folder)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_a_folder_that_cannot_be_used_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        command = _python(folder, "manage.py", "migrate")
        _out, error = command.communicate()
        assert command.returncode == 1
        assert error.startswith(f"The folder {folder} is of no use: ") and error.count("\n") == 1


def test_first_starts_at_the_same_time_have_one_secret_key(tmp_path):
    starts = [_python(tmp_path, "-c", "from annotate import settings; print(settings.SECRET_KEY)") for _ in range(4)]
    keys = {start.communicate()[0].strip() for start in starts}
    assert len(keys) == 1 and len(keys.pop()) > 50
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["secret-key"]


def test_accounts_that_exist_keep_their_passwords(accounts_file):
    own = User.objects.create_user("admin", password="my own long password")
    ensure_accounts()
    before = accounts_file.read_text()
    ensure_accounts()
    own.refresh_from_db()
    assert own.check_password("my own long password") and not own.is_staff
    assert accounts_file.read_text() == before
    assert "admin" not in json.loads(before), "a password that is not known is not claimed"


def test_the_demo_project_is_loaded_once(accounts_file):
    make_starter()
    call_command("demo", verbosity=0)
    project = Project.objects.get()
    counts = (Comparison.objects.count(), Judgment.objects.count(), User.objects.count())
    Comparison.objects.filter(judgments=None).first().delete()
    call_command("demo", verbosity=0)
    assert (Comparison.objects.count(), Judgment.objects.count(), User.objects.count()) == (
        counts[0] - 1, counts[1], counts[2],
    ), "what people did to it stays"  # fmt: skip
    assert project.policy.name == "starter" and project.policy.source == "models/starter/model"
    assert project.prompts.filter(in_pool=True).exists()
    assert project.guideline_versions.exists()
    annotator, researcher = User.objects.get(username="annotator"), User.objects.get(username="researcher")
    assert open_for(project, annotator) == 39
    assert can(annotator, project, "annotator") and not can(annotator, project, "researcher")
    assert can(researcher, project, "researcher") and not can(researcher, project, "admin")


def make_starter():
    STARTER.mkdir(parents=True, exist_ok=True)
    (STARTER / "config.json").write_text("{}")
    (STARTER / "model.safetensors").write_bytes(b"weights")


@pytest.fixture
def loop(monkeypatch, settings):
    """A project with a policy and a preference; a worker that takes nothing, and a trainer that is quick."""
    monkeypatch.setattr(follow, "LOOK_EVERY", 0.02)
    monkeypatch.setattr("annotate.management.commands.train.WORKER_SECONDS", 0.0)
    monkeypatch.setattr("annotate.runs.tasks.execute_run.apply_async", lambda args, retry: None)
    use_fake_trainer(monkeypatch, settings, steps=3)
    project = make_project()
    project.policy = make_model(project)
    project.save()
    path = django_settings.VAR_DIR / "preferences.jsonl"
    path.write_text('{"prompt": "Q", "chosen": "good", "rejected": "bad"}\n')
    call_command("import", "loop", str(path), kind="preferences", verbosity=0)
    yield project


def train(*words, **options):
    call_command("train", *words, "--project", "loop", **options)


@pytest.mark.django_db(transaction=True)
def test_train_waits_and_makes_the_run_itself_where_there_is_no_worker(loop, capsys):
    train("reward", "--wait", "epochs=3", "--title", "first")
    run = Run.objects.get()
    assert (run.state, run.title, run.params["epochs"]) == ("succeeded", "first", 3)
    assert ModelVersion.objects.get(run=run).kind == "reward"
    written = (run_directory(run) / "data" / "preferences.jsonl").read_text()
    assert json.loads(written)["chosen"] == [{"role": "assistant", "content": "good"}]
    assert "Model: reward-" in capsys.readouterr().out


@pytest.mark.django_db(transaction=True)
def test_train_takes_a_directory_for_a_model_and_enters_it_once(loop):
    """A project that an import made has no model yet."""
    loop.models.all().delete()
    with pytest.raises(CommandError, match="needs a base model: add or train one first"):
        train("reward")
    directory = django_settings.VAR_DIR / "elsewhere" / "model"
    directory.mkdir(parents=True)
    with pytest.raises(CommandError, match=r"nor a directory with a config\.json"):
        train("reward", "--model", str(directory))
    (directory / "config.json").write_text("{}")
    (directory / "model.safetensors").write_bytes(b"")
    for _ in range(2):
        train("reward", "--wait", "--model", f"{directory}/")
    model = loop.models.get(kind="policy")
    assert (model.name, model.source) == ("elsewhere", "elsewhere/model")
    assert [run.base_model for run in Run.objects.all()] == [model, model]


@pytest.mark.django_db(transaction=True)
def test_train_fails_with_the_runs_reason(loop, monkeypatch, settings):
    use_fake_trainer(monkeypatch, settings, then="killed")
    with pytest.raises(CommandError, match=r"The run failed\. The training process was killed"):
        train("reward", "--wait")


@pytest.mark.django_db(transaction=True)
def test_train_takes_rules_alone_and_an_endpoint(loop, tmp_path):
    def import_lines(kind, line):
        (tmp_path / f"{kind}.jsonl").write_text(line + "\n")
        call_command("import", "loop", str(tmp_path / f"{kind}.jsonl"), kind=kind, verbosity=0)

    rule = 'rewards={"source": "max_length", "words": 9}'
    import_lines("prompts", '{"prompt": "Q"}')
    loop.reward_model = make_model(loop, "reward", "taste")
    loop.save()
    train("grpo", rule)
    train("grpo", rule, "--without-reward-model")
    assert [run.reward_model for run in Run.objects.order_by("pk")] == [loop.reward_model, None]
    endpoint = loop.chat_endpoints.create(name="Elder", base_url="http://127.0.0.1:9/v1", model_name="judge-1")
    import_lines("comparisons", '{"prompt": "Q", "responses": ["a", "b"]}')
    train("judge", "--endpoint", "Elder")
    run = Run.objects.get(recipe="judge")
    assert (run.endpoint, run.base_model) == (endpoint, None)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["judge", "--endpoint", "nobody"], "has no endpoint nobody"),
        (["grpo", "--reward-model", "taste", "--without-reward-model"], "not allowed with argument"),
        (["reward", "epoch=3"], "did you mean epochs"),
        (["reward", "epochs"], "epochs is not a setting: write key=value."),
        (["alchemy"], "does not start a recipe alchemy"),
        (["reward", "--model", "nobody"], "has no model nobody"),
        (["reward", "--dataset", "77"], "has no dataset 77"),
        (["sft"], "There are no demonstrations yet"),
    ],
)
def test_wrong_words_are_one_sentence_and_queue_nothing(loop, words, sentence):
    with pytest.raises(CommandError, match=sentence):
        train(*words)
    assert not Run.objects.exists()


def test_an_unknown_project_is_one_sentence():
    with pytest.raises(CommandError, match="There is no project nowhere"):
        call_command("train", "sft", "--project", "nowhere")
