"""Uploads, comparisons with the number of judgments they want, identity leaks, and datasets to take away."""

from django.http import StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.parsers import MultiPartParser
from rest_framework.response import Response

from annotate import access
from annotate.api import serializers
from annotate.api.views import ProjectView
from annotate.datasets.exporting import export
from annotate.datasets.snapshots import request_snapshot, snapshots_of
from annotate.datasets.uploads import import_upload
from annotate.labeling.comparisons import set_judgments_wanted
from annotate.labeling.holding import AT_ONCE, check_stored, leaks_of, review_leak, set_hold, unchecked
from annotate.labeling.listing import in_full, listed, without_gold

RESEARCHER, ADMIN = access.Role.RESEARCHER, access.Role.ADMIN


class Imports(ProjectView):
    roles = {"POST": ADMIN}
    parser_classes = [MultiPartParser]

    @extend_schema(request=serializers.ImportRequest, responses=serializers.ImportReportSerializer)
    def post(self, request, slug):
        """All of a file lands, or none of it; an error names the line and the field."""
        given = self.read(serializers.ImportRequest)
        report = import_upload(self.project, given.pop("file"), given.pop("kind"), user=request.user, **given)
        return Response(serializers.ImportReportSerializer(report).data)


class Comparisons(ProjectView):
    roles = {"GET": RESEARCHER}

    @extend_schema(parameters=[serializers.ComparisonFilter], responses=serializers.ComparisonSerializer(many=True))
    def get(self, request, slug):
        """The newest first; gold questions are not among them."""
        chosen = serializers.ComparisonFilter(data=request.query_params)
        chosen.is_valid(raise_exception=True)
        return self.paged(listed(self.project, **chosen.validated_data), serializers.ComparisonSerializer)


class Comparison(ProjectView):
    roles = {"GET": RESEARCHER, "PATCH": ADMIN}

    @extend_schema(responses=serializers.ComparisonSerializer)
    def get(self, request, slug, pk):
        """One comparison, and how many people have judged it."""
        comparison = get_object_or_404(in_full(without_gold(self.project)), pk=pk)
        return Response(serializers.ComparisonSerializer(comparison).data)

    @extend_schema(request=serializers.WantedRequest, responses=serializers.ComparisonSerializer)
    def patch(self, request, slug, pk):
        """From now on this many people judge it, whatever the project's number is; what is judged stays."""
        comparison = get_object_or_404(self.project.comparisons, pk=pk)
        set_judgments_wanted(comparison, user=request.user, **self.read(serializers.WantedRequest))
        return self.get(request, slug, pk)


class Leaks(ProjectView):
    roles = {"GET": ADMIN, "POST": ADMIN, "PATCH": ADMIN}

    @extend_schema(responses=serializers.LeakSerializer(many=True))
    def get(self, request, slug):
        """Responses that tell who wrote them and that nobody has decided about."""
        return self.paged(leaks_of(self.project), serializers.LeakSerializer)

    @extend_schema(
        operation_id="projects_leaks_hold", request=serializers.HoldRequest, responses=serializers.HoldRequest
    )
    def patch(self, request, slug):
        """Whether comparisons with such responses wait for a decision."""
        hold = self.read(serializers.HoldRequest)["hold"]
        set_hold(self.project, hold, user=request.user)
        return Response({"hold": hold})

    @extend_schema(request=None, responses=serializers.FoundSerializer)
    def post(self, request, slug):
        """Looks through responses that were stored before texts were checked, some thousands a call."""
        found = check_stored(self.project, most=AT_ONCE, user=request.user)
        return Response({"found": found, "unchecked": unchecked(self.project).count()})


class Leak(ProjectView):
    roles = {"PATCH": ADMIN}

    @extend_schema(request=serializers.LeakDecision, responses=serializers.LeakSerializer)
    def patch(self, request, slug, pk):
        """The response is served as it is, or left out of every comparison from now on."""
        state = self.read(serializers.LeakDecision)["state"]
        return Response(serializers.LeakSerializer(review_leak(self.project, pk, state, user=request.user)).data)


class Datasets(ProjectView):
    roles = {"GET": RESEARCHER, "POST": RESEARCHER}

    @extend_schema(responses=serializers.DatasetSerializer(many=True))
    def get(self, request, slug):
        """The snapshots, newest first."""
        return self.paged(snapshots_of(self.project), serializers.DatasetSerializer)

    @extend_schema(
        request=serializers.NewDataset,
        responses={201: serializers.DatasetSerializer, 202: serializers.DatasetSerializer},
    )
    def post(self, request, slug):
        """Freezes the project's data of this kind as it is now.

        Of a few thousand rows the answer is 201 and the dataset is `ready`. More are frozen by a worker: the answer is
        202, and the dataset `being_made`; ask its Location again until `state` says `ready` or `failed`. The same
        request again meanwhile is the same dataset, and one that failed is tried again.
        """
        given = self.read(serializers.NewDataset)
        dataset = request_snapshot(self.project, user=request.user, **given)
        headers = {"Location": _address(request, slug, dataset)}
        if dataset.is_ready:
            return Response(serializers.DatasetSerializer(dataset).data, status=201, headers=headers)
        headers["Retry-After"] = "2"
        return Response(serializers.DatasetSerializer(dataset).data, status=202, headers=headers)


class Dataset(ProjectView):
    roles = {"GET": RESEARCHER}

    @extend_schema(responses={200: serializers.DatasetSerializer, 303: serializers.DatasetSerializer})
    def get(self, request, slug, pk):
        """One snapshot: whether it is ready, what it holds, and its fingerprint.

        Where nothing had changed since an earlier snapshot, the answer is 303, and that one.
        """
        dataset = get_object_or_404(self.project.datasets, pk=pk)
        if dataset.same_as is None:
            return Response(serializers.DatasetSerializer(dataset).data)
        headers = {"Location": _address(request, slug, dataset.same_as)}
        return Response(serializers.DatasetSerializer(dataset.same_as).data, status=303, headers=headers)


def _address(request, slug: str, dataset) -> str:
    return request.build_absolute_uri(reverse("api-dataset", args=[slug, dataset.pk]))


class Download(ProjectView):
    roles = {"GET": RESEARCHER}

    @extend_schema(
        operation_id="projects_datasets_download",
        responses={(200, "application/octet-stream"): OpenApiTypes.BINARY},
    )
    def get(self, request, slug, pk, file_format):
        """The rows of a snapshot that is ready as `jsonl` or `parquet`, written while they are read."""
        filename, content_type, blocks = export(get_object_or_404(self.project.datasets, pk=pk), file_format)
        response = StreamingHttpResponse(blocks, content_type=content_type)
        response["Content-Disposition"] = f'attachment; filename="{filename}"'
        return response
