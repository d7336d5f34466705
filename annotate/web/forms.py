"""What the pages' forms have in common: an error from a service lands at the field it names."""

from django import forms

from annotate.errors import UserError


def add_user_error(form: forms.Form, error: UserError) -> None:
    """Shows `error` at its field where the form has one, otherwise on top."""
    form.add_error(error.field if error.field in form.fields else None, error.message)
