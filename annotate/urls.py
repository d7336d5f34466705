"""Every address of the site."""

from django.urls import include, path

from annotate.web import (
    account,
    data,
    datasets,
    guidelines,
    held_up,
    labeling,
    models,
    people,
    projects,
    quality,
    rounds,
    runs,
)

project_urls = [
    path("", projects.overview, name="project"),
    path("settings/", projects.settings, name="settings"),
    path("people/", people.people, name="people"),
    path("guidelines/", guidelines.guidelines, name="guidelines"),
    path("guidelines/edit/", guidelines.edit, name="guidelines_edit"),
    path("guidelines/<int:number>/", guidelines.guidelines, name="guidelines_version"),
    path("guidelines/<int:number>/changes/", guidelines.changes, name="guidelines_changes"),
    path("label/", labeling.label, name="label"),
    path("label/skip/", labeling.skip, name="label_skip"),
    path("label/renew/<uuid:key>/", labeling.renew, name="label_renew"),
    path("label/acknowledge/", held_up.acknowledge, name="label_acknowledge"),
    path("label/history/", labeling.history, name="label_history"),
    path("data/", data.upload, name="data"),
    path("datasets/", datasets.index, name="datasets"),
    path("datasets/<int:pk>/download/<str:format>/", datasets.download, name="dataset_download"),
    path("runs/", runs.index, name="runs"),
    path("runs/new/<str:recipe>/", runs.new, name="run_new"),
    path("runs/<int:pk>/", runs.show, name="run"),
    path("runs/<int:pk>/live/", runs.live, name="run_live"),
    path("runs/<int:pk>/series/", runs.series, name="run_series"),
    path("runs/<int:pk>/<str:action>/", runs.act, name="run_act"),
    path("models/", models.index, name="models"),
    path("models/<int:pk>/promote/", models.promote, name="model_promote"),
    path("rounds/", rounds.index, name="rounds"),
    path("rounds/new/", rounds.new, name="round_new"),
    path("quality/", quality.quality, name="quality"),
]

urlpatterns = [
    path("", projects.home, name="home"),
    path("login/", account.login, name="login"),
    path("logout/", account.logout, name="logout"),
    path("password/", account.password, name="password"),
    path("account/", account.account, name="account"),
    path("account/keys/", account.change_keys, name="account_keys"),
    path("projects/new/", projects.new, name="project_new"),
    path("p/<slug:slug>/", include(project_urls)),
    path("api/", include("annotate.api.urls")),
]
