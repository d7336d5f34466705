"""The language of a page: what a person chose in their settings, else what their browser asks for."""

from django.utils import translation


class PersonalLanguageMiddleware:
    """Behind LocaleMiddleware and AuthenticationMiddleware: the choice of who is signed in wins."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        # Strangers have no session, so this costs them no query.
        if request.user.is_authenticated and request.user.language:
            translation.activate(request.user.language)
            request.LANGUAGE_CODE = translation.get_language()
        return self.get_response(request)
