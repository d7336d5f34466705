"""Sign in, sign out, change one's password."""

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash, views
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm
from django.http import HttpResponse
from django.shortcuts import redirect

from annotate.web.common import page, signed_in

login = views.LoginView.as_view(
    template_name="login.html", authentication_form=AuthenticationForm, redirect_authenticated_user=True
)
logout = views.LogoutView.as_view()


@signed_in
def password(request) -> HttpResponse:
    form = PasswordChangeForm(request.user, request.POST or None)
    if form.is_valid():
        update_session_auth_hash(request, form.save())
        messages.success(request, "Your password is changed.")
        return redirect("home")
    return page(request, "password.html", form=form)
