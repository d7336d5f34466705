"""The demo accounts, with random passwords that are kept in a file which only its owner may read."""

import json
import os
import secrets

from django.conf import settings

from annotate.models import User

ACCOUNTS_FILE = "demo-accounts.json"
NAMES = ADMIN, ANNOTATOR, RESEARCHER = "admin", "annotator", "researcher"


def ensure_accounts() -> dict[str, User]:
    """The three accounts by name. One that exists is left as it is, whoever made it."""
    path = settings.VAR_DIR / ACCOUNTS_FILE
    known = json.loads(path.read_text()) if path.exists() else {}
    users = {user.username: user for user in User.objects.filter(username__in=NAMES)}
    missing = [name for name in NAMES if name not in users]
    passwords = known | {name: known.get(name) or secrets.token_urlsafe(12) for name in missing}
    if passwords != known:
        # The file first: accounts whose passwords nobody knows would be of no use.
        _write_private(path, json.dumps(passwords, indent=2) + "\n")
    for name in missing:
        users[name] = User.objects.create_user(name, password=passwords[name], is_staff=name == ADMIN)
    return users


def _write_private(path, text: str) -> None:
    aside = path.with_name(f".{path.name}.part")
    aside.unlink(missing_ok=True)
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    os.replace(aside, path)
