"""The addresses below /api/."""

from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView

from annotate.api import data, labeling, projects, runs

_project = [
    path("", projects.Project.as_view()),
    path("guidelines/", projects.Guidelines.as_view()),
    path("members/", projects.Members.as_view()),
    path("members/<str:username>/", projects.Member.as_view()),
    path("next/", labeling.Next.as_view()),
    path("judgments/", labeling.Judgments.as_view()),
    path("skips/", labeling.Skips.as_view()),
    path("reservations/<uuid:key>/renew/", labeling.Renewal.as_view()),
    path("reservations/<uuid:key>/release/", labeling.Release.as_view()),
    path("imports/", data.Imports.as_view()),
    path("datasets/", data.Datasets.as_view()),
    path("datasets/<int:pk>/", data.Dataset.as_view()),
    path("datasets/<int:pk>/<str:file_format>/", data.Download.as_view()),
    path("runs/", runs.Runs.as_view()),
    path("runs/<int:pk>/", runs.Run.as_view()),
    path("runs/<int:pk>/cancel/", runs.Cancel.as_view()),
    path("runs/<int:pk>/resume/", runs.Resume.as_view()),
    path("runs/<int:pk>/retry/", runs.Retry.as_view()),
    path("models/", runs.Models.as_view()),
    path("models/<int:pk>/promote/", runs.Promote.as_view()),
    path("rounds/", runs.Rounds.as_view()),
]

urlpatterns = [
    path("schema/", SpectacularAPIView.as_view(), name="api-schema"),
    path("projects/", projects.Projects.as_view(), name="api-projects"),
    path("projects/<slug:slug>/", include(_project)),
]
