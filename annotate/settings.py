"""Django settings: embedded by default (SQLite and a file-system broker under var/), servers by environment.

Environment: DEBUG, SECRET_KEY, DATABASE_URL, DATABASE_PREPARED (0 behind a pooler that hands a connection on after each
transaction and knows no prepared statements), CELERY_BROKER_URL, TRAINING_LAUNCHER, ALLOWED_HOSTS,
CSRF_TRUSTED_ORIGINS, HTTPS, PREFLOOP_VAR.
"""

import errno
import os
import secrets
from pathlib import Path

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent


def _env_bool(name: str, default: bool) -> bool:
    return os.environ.get(name, str(int(default))).strip().lower() in {"1", "true", "yes", "on"}


def _env_list(name: str) -> list[str]:
    return [part.strip() for part in os.environ.get(name, "").split(",") if part.strip()]


# Everything the installation writes lies here: database, broker, uploads, runs, models, secrets.
VAR_DIR = Path(os.environ.get("PREFLOOP_VAR", BASE_DIR / "var")).resolve()
try:
    VAR_DIR.mkdir(parents=True, exist_ok=True)
    if not os.access(VAR_DIR, os.W_OK):
        raise PermissionError(errno.EACCES, "it cannot be written to")
except OSError as error:
    raise ImproperlyConfigured(
        f"The folder {VAR_DIR} is of no use: {error.strerror}. Another one: PREFLOOP_VAR=/path/of/a/folder"
    ) from None
RUNS_DIR = VAR_DIR / "runs"
MODELS_DIR = VAR_DIR / "models"
DATASETS_DIR = VAR_DIR / "datasets"

DEBUG = _env_bool("DEBUG", True)


def _secret_key() -> str:
    """SECRET_KEY from the environment; for the embedded default one made once and kept in var/."""
    if key := os.environ.get("SECRET_KEY"):
        return key
    if not DEBUG:
        raise ImproperlyConfigured("DEBUG=0 needs a SECRET_KEY in the environment: set it to a long random string.")
    path = VAR_DIR / "secret-key"
    if not path.exists():
        # Whole before it has its name, so that neither a second process nor a full disk makes an empty key.
        aside = path.with_name(f".secret-key.{os.getpid()}")
        try:
            with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(50))
            os.link(aside, path)
        except FileExistsError:
            pass  # another process was first
        except OSError as error:
            raise ImproperlyConfigured(f"No secret key can be kept in {VAR_DIR}: {error.strerror}.") from None
        finally:
            aside.unlink(missing_ok=True)
    return path.read_text().strip()


SECRET_KEY = _secret_key()
ALLOWED_HOSTS = _env_list("ALLOWED_HOSTS") or ["127.0.0.1", "localhost", "[::1]"]
CSRF_TRUSTED_ORIGINS = _env_list("CSRF_TRUSTED_ORIGINS")

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_htmx",
    "rest_framework",
    "drf_spectacular",
    "annotate.apps.AnnotateConfig",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "annotate.web.security.ContentSecurityPolicyMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "annotate.web.language.PersonalLanguageMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "annotate.web.storable.WithoutNulMiddleware",
    "annotate.web.broken.FormsOnlyMiddleware",
]

ROOT_URLCONF = "annotate.urls"
WSGI_APPLICATION = "annotate.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

DATABASES = {
    "default": dj_database_url.config(default=f"sqlite:///{VAR_DIR / 'prefloop.sqlite3'}", conn_max_age=60)
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # Readers never wait for the writer (WAL); a writer takes its lock at BEGIN, so two of them queue up
    # instead of failing with "database is locked" in the middle.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 30,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
elif _env_bool("DATABASE_PREPARED", True):
    # No statement is prepared for coming often; those of annotate/prepared.py ask for it.
    DATABASES["default"].setdefault("OPTIONS", {})["prepare_threshold"] = 2**30

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "annotate.User"
AUTHENTICATION_BACKENDS = ["annotate.web.session.AccountBackend"]
SESSION_ENGINE = "annotate.web.session"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("de", "Deutsch"), ("zh-hans", "简体中文")]
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
# Served straight from static/, with DEBUG or without: there is nothing to collect and nothing that can be stale.
WHITENOISE_USE_FINDERS = True

SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _env_bool("HTTPS", False)
DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 2**20

# In service Django logs a failed request nowhere but in a mail to ADMINS: here it stands where the site's output goes,
# with the time and the address that the page 500 asks for.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"in_service": {"()": "django.utils.log.RequireDebugFalse"}},
    "formatters": {"dated": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {
        "errors": {
            "class": "logging.StreamHandler", "level": "ERROR", "formatter": "dated", "filters": ["in_service"],
        },
    },
    "loggers": {"django.request": {"handlers": ["errors"]}},
}  # fmt: skip

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication",
                                       "rest_framework.authentication.BasicAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.LimitOffsetPagination",
    "PAGE_SIZE": 100,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Prefloop",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "ENUM_NAME_OVERRIDES": {
        "ComparisonKind": "annotate.models.comparison.Comparison.Kind",
        "DatasetKind": "annotate.models.dataset.Dataset.Kind",
        "ModelKind": "annotate.models.model_version.ModelVersion.Kind",
        "Rating": "annotate.models.judgment.Rating",
    },
}

# A run's row in the database is the truth and the message only a nudge (annotate/runs/), so a broker
# that keeps its messages as files is good enough until there are several machines.
CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL", "filesystem://localhost")
if CELERY_BROKER_URL.startswith("filesystem://"):
    _queue, _control = VAR_DIR / "broker" / "queue", VAR_DIR / "broker" / "control"
    for _folder in (_queue, _control):
        _folder.mkdir(parents=True, exist_ok=True)
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(_queue), "data_folder_out": str(_queue), "control_folder": str(_control),
    }
    # Answers to remote control commands would pile up as files that nobody takes away.
    CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_ROUTES = {"annotate.runs.tasks.execute_run": {"queue": "gpu"}}
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TIMEZONE = "UTC"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True

# What starts the trainer, in place of this Python: `accelerate launch --num_processes 4` where there are several GPUs.
TRAINING_LAUNCHER = os.environ.get("TRAINING_LAUNCHER", "")
