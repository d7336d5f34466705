"""Runs, models and rounds."""

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.response import Response

from annotate import access
from annotate.api import serializers
from annotate.api.views import ProjectView
from annotate.errors import UserError
from annotate.runs import launch, registry, selectors
from annotate.runs.rounds import start_round

RESEARCHER, ADMIN = access.Role.RESEARCHER, access.Role.ADMIN
READ_AND_WRITE = {"GET": RESEARCHER, "POST": ADMIN}


class Runs(ProjectView):
    roles = READ_AND_WRITE

    @extend_schema(responses=serializers.RunSerializer(many=True))
    def get(self, request, slug):
        """The runs, newest first."""
        return self.paged(selectors.runs_of(self.project), serializers.RunSerializer)

    @extend_schema(request=serializers.NewRun, responses={201: serializers.RunSerializer})
    def post(self, request, slug):
        """Queues a run. Without a dataset the project's data is frozen now; without models the promoted ones serve.

        Where that is much data, a worker freezes it, and the run waits for it.
        """
        given = {"params": {}} | self.read(serializers.NewRun, project=self.project)
        run = launch.create_run(self.project, given.pop("recipe"), user=request.user, **given)
        return Response(serializers.RunSerializer(run).data, status=201)


class Run(ProjectView):
    roles = {"GET": RESEARCHER}

    @extend_schema(
        parameters=[OpenApiParameter("after", int, description="Only points of events later than this number.")],
        responses=serializers.RunDetail,
    )
    def get(self, request, slug, pk):
        """The run and one look at it: progress, curves, samples, the end of its log."""
        after = request.query_params.get("after", "0")
        if not after.isdecimal():
            raise UserError("“after” is the number of an event.", field="after")
        run = get_object_or_404(self.project.runs, pk=pk)
        return Response(serializers.RunDetail({"run": run, "view": selectors.run_view(run, int(after))}).data)


class _RunAction(ProjectView):
    roles = {"POST": ADMIN}

    def run_of(self, pk: int):
        return get_object_or_404(self.project.runs, pk=pk)


class Cancel(_RunAction):
    @extend_schema(request=None, responses=serializers.RunSerializer)
    def post(self, request, slug, pk):
        """Stops a run after a checkpoint."""
        run = self.run_of(pk)
        launch.request_cancel(run, request.user)
        return Response(serializers.RunSerializer(run).data)


class Resume(_RunAction):
    @extend_schema(request=None, responses=serializers.RunSerializer)
    def post(self, request, slug, pk):
        """Goes on from the newest checkpoint."""
        run = self.run_of(pk)
        launch.resume(run, request.user)
        return Response(serializers.RunSerializer(run).data)


class Retry(_RunAction):
    @extend_schema(request=None, responses={201: serializers.RunSerializer})
    def post(self, request, slug, pk):
        """A new run with the same settings, data and models."""
        run = launch.retry(self.run_of(pk), request.user)
        return Response(serializers.RunSerializer(run).data, status=201)


class Models(ProjectView):
    roles = READ_AND_WRITE

    @extend_schema(responses=serializers.ModelSerializer(many=True))
    def get(self, request, slug):
        """The registry of models, with what each was made from."""
        return self.paged(selectors.models_of(self.project), serializers.ModelSerializer)

    @extend_schema(request=serializers.ModelSerializer, responses={201: serializers.ModelSerializer})
    def post(self, request, slug):
        """Enters a model from elsewhere: a hub id, or a directory on the server."""
        given = self.read(serializers.ModelSerializer)
        model = registry.add_external(self.project, user=request.user, **given)
        return Response(serializers.ModelSerializer(model).data, status=201)


class Promote(ProjectView):
    roles = {"POST": ADMIN}

    @extend_schema(request=None, responses={204: None})
    def post(self, request, slug, pk):
        """Makes it the default of the next run and the next round."""
        registry.promote(get_object_or_404(self.project.models, pk=pk), request.user)
        return Response(status=204)


class Rounds(ProjectView):
    roles = READ_AND_WRITE

    @extend_schema(responses=serializers.RoundSerializer(many=True))
    def get(self, request, slug):
        """The rounds, newest first."""
        return self.paged(selectors.rounds_of(self.project), serializers.RoundSerializer)

    @extend_schema(request=serializers.NewRound, responses={201: serializers.RoundSerializer})
    def post(self, request, slug):
        """The policy answers prompts, and pairs of different answers go to the queue."""
        given = self.read(serializers.NewRound, project=self.project)
        opened = start_round(self.project, given.pop("policy", None), user=request.user, **given)
        return Response(serializers.RoundSerializer(opened).data, status=201)
