"""Sign in, sign out, and what a person sets for themselves: language, keys and password."""

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash, views
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import translation
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from annotate.errors import UserError
from annotate.web import keys
from annotate.web.common import page, signed_in

login = views.LoginView.as_view(
    template_name="login.html", authentication_form=AuthenticationForm, redirect_authenticated_user=True
)
logout = views.LogoutView.as_view()


@require_GET
@signed_in
def account(request: HttpRequest) -> HttpResponse:
    return _account_page(request)


@require_POST
@signed_in
def change_keys(request: HttpRequest) -> HttpResponse:
    """Stores all keys at once, or says which of them cannot be; `reset` brings the defaults back."""
    sent = request.POST
    try:
        if "reset" in sent:
            keys.reset_keys(request.user)
        else:
            keys.change_keys(request.user, {action.id: sent.get(action.id, "") for action in keys.ACTIONS})
    except UserError as error:
        return _account_page(request, sent=sent, error=error, status=422)
    messages.success(request, _("Your keys are saved."))
    return redirect("account")


@require_POST
@signed_in
def change_language(request: HttpRequest) -> HttpResponse:
    """A language of the site, or "" for what the browser asks for."""
    chosen = request.POST.get("language", "")
    if chosen and chosen not in dict(settings.LANGUAGES):
        messages.error(request, _("The site does not speak this language."))
        return redirect("account")
    request.user.language = chosen
    request.user.save(update_fields=["language"])
    with translation.override(chosen or translation.get_language_from_request(request)):
        messages.success(request, _("Your language is saved."))
    return redirect("account")


def _account_page(request: HttpRequest, sent=None, error: UserError | None = None, status: int = 200) -> HttpResponse:
    values = sent or keys.keys_of(request.user)
    rows = [
        {
            "action": action,
            "value": keys.NAMED_KEYS.get(values.get(action.id), values.get(action.id, "")),
            "default": keys.shown(action.default),
            "error": error.message if error and error.field == action.id else "",
        }
        for action in keys.ACTIONS
    ]
    return page(request, "account.html", status=status, rows=rows, error=error, languages=settings.LANGUAGES)


@signed_in
def password(request: HttpRequest) -> HttpResponse:
    form = PasswordChangeForm(request.user, request.POST or None)
    if form.is_valid():
        update_session_auth_hash(request, form.save())
        messages.success(request, _("Your password is changed."))
        return redirect("home")
    return page(request, "password.html", form=form)
