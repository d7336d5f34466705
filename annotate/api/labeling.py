"""The queue: the next pair, its judgment, its skip."""

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.response import Response

from annotate import access
from annotate.api import serializers
from annotate.api.views import ProjectView
from annotate.labeling.editing import edit_judgment
from annotate.labeling.progress import queue_state, reserved_by_others
from annotate.labeling.queue import release, renew, reserve_next
from annotate.labeling.submit import skip_comparison, submit_judgment

LABELING = {"POST": access.Role.ANNOTATOR}


class Next(ProjectView):
    roles = LABELING

    @extend_schema(request=serializers.ReserveRequest, responses=serializers.NextSerializer)
    def post(self, request, slug):
        """The pair that you hold, or the next one, reserved for you; `pair` is null where there is none for you now."""
        exclude = self.read(serializers.ReserveRequest).get("exclude", [])
        pair = reserve_next(self.project, request.user, exclude=exclude)
        state = queue_state(self.project, request.user)
        with_others = 0 if pair else reserved_by_others(self.project, request.user)
        answer = {"pair": pair, "state": state, "reserved_by_others": with_others}
        return Response(serializers.NextSerializer(answer).data)


class Judgments(ProjectView):
    roles = LABELING

    @extend_schema(request=serializers.JudgmentRequest, responses=serializers.JudgmentSerializer)
    def post(self, request, slug):
        """Stores a judgment. The same key twice is stored once, so a request may be sent again after a failure."""
        judgment = submit_judgment(request.user, **self.read(serializers.JudgmentRequest))
        return Response(serializers.JudgmentSerializer(judgment).data)


class OwnJudgment(ProjectView):
    roles: ClassVar = {"PUT": access.Role.ANNOTATOR}

    @extend_schema(request=serializers.VerdictRequest, responses=serializers.JudgmentSerializer)
    def put(self, request, slug, pk):
        """Says something else about one of your last comparisons; what you said before is kept as a version."""
        judgment = edit_judgment(self.project, request.user, pk, **self.read(serializers.VerdictRequest))
        return Response(serializers.JudgmentSerializer(judgment).data)


class Skips(ProjectView):
    roles = LABELING

    @extend_schema(request=serializers.SkipRequest, responses=serializers.SkipSerializer)
    def post(self, request, slug):
        """Gives the pair to somebody else; you do not get it again."""
        skip = skip_comparison(request.user, **self.read(serializers.SkipRequest))
        return Response(serializers.SkipSerializer(skip).data)


class Renewal(ProjectView):
    roles = LABELING

    @extend_schema(request=None, responses=serializers.RenewalSerializer)
    def post(self, request, slug, key):
        """The pair is still being read: its lease starts anew."""
        return Response({"held": renew(key, request.user)})


class Release(ProjectView):
    roles = LABELING

    @extend_schema(request=None, responses={204: None})
    def post(self, request, slug, key):
        """Gives the pair back without a word."""
        release(key, request.user)
        return Response(status=204)
