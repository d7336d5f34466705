"""The addresses below /api/."""

from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView

from annotate.api import data, demonstrations, labeling, projects, quality, runs

_project = [
    path("", projects.Project.as_view()),
    path("guidelines/", projects.Guidelines.as_view()),
    path("members/", projects.Members.as_view()),
    path("members/<str:username>/", projects.Member.as_view()),
    path("next/", labeling.Next.as_view()),
    path("judgments/", labeling.Judgments.as_view()),
    path("judgments/<int:pk>/", labeling.OwnJudgment.as_view()),
    path("skips/", labeling.Skips.as_view()),
    path("reservations/<uuid:key>/renew/", labeling.Renewal.as_view()),
    path("reservations/<uuid:key>/release/", labeling.Release.as_view()),
    path("writings/next/", demonstrations.NextWriting.as_view()),
    path("writings/own/", demonstrations.OwnWriting.as_view()),
    path("writings/<uuid:key>/draft/", demonstrations.Draft.as_view()),
    path("writings/<uuid:key>/skip/", demonstrations.SkipWriting.as_view()),
    path("demonstrations/", demonstrations.Demonstrations.as_view()),
    path("demonstrations/mine/", demonstrations.MyDemonstrations.as_view()),
    path("demonstrations/<int:pk>/accept/", demonstrations.Accept.as_view()),
    path("demonstrations/<int:pk>/return/", demonstrations.Return.as_view()),
    path("demonstrations/<int:pk>/revise/", demonstrations.Revise.as_view()),
    path("standing/", quality.OwnStanding.as_view()),
    path("standings/", quality.Standings.as_view()),
    path("standings/<str:username>/", quality.MemberStanding.as_view()),
    path("gold/", quality.Gold.as_view()),
    path("gold/<int:pk>/", quality.GoldDetail.as_view()),
    path("splits/", quality.Splits.as_view()),
    path("splits/<int:pk>/", quality.Adjudicate.as_view()),
    path("progress/", quality.Progress.as_view()),
    path("progress/mine/", quality.OwnProgress.as_view()),
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
