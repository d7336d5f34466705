"""Sessions and accounts as Django keeps them in the database, read with two queries that are built once."""

from django.contrib.auth.backends import ModelBackend
from django.contrib.sessions.backends import db
from django.contrib.sessions.models import Session
from django.db.models import CharField
from django.utils import timezone

from annotate.models import User
from annotate.prepared import Given, Prepared, given_id, given_time

_session = Prepared(
    lambda: Session.objects.filter(session_key=Given("key", CharField()), expire_date__gt=given_time("now"))
)
_account = Prepared(lambda: User.objects.filter(pk=given_id("pk")))


class SessionStore(db.SessionStore):
    """What SESSION_ENGINE names."""

    def _get_session_from_db(self) -> Session | None:
        found = _session.first(key=self.session_key or "", now=timezone.now())
        if found is None:
            self._session_key = None
        return found


class AccountBackend(ModelBackend):
    """Of AUTHENTICATION_BACKENDS."""

    def get_user(self, user_id) -> User | None:
        user = _account.first(pk=user_id)
        return user if user and self.user_can_authenticate(user) else None
