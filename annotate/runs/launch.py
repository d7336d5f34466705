"""Start, cancel, resume and retry a run. Everything that can be refused is refused here, before it is queued."""

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate.access import require
from annotate.datasets.snapshots import create_snapshot, request_snapshot, try_again
from annotate.errors import UserError
from annotate.models import ChatEndpoint, Dataset, Membership, ModelVersion, Project, Run
from annotate.runs.claim import dispatch
from annotate.runs.directory import model_path
from annotate.runs.recipes import SiteRecipe, checked_params, site_recipe
from annotate.runs.reward_sources import check_sources

WHAT_IS_MISSING = {
    Dataset.Kind.PREFERENCES: gettext_lazy(
        "There are no preferences yet: let annotators judge comparisons, or import preferences."
    ),
    Dataset.Kind.DEMONSTRATIONS: gettext_lazy("There are no demonstrations yet: import some."),
    Dataset.Kind.COMPARISONS: gettext_lazy("There are no comparisons yet: upload some, or start a round."),
    Dataset.Kind.PROMPTS: gettext_lazy("There are no prompts yet: import some."),
}


def create_run(
    project: Project,
    recipe: str,
    *,
    user,
    params: dict,
    dataset: Dataset | None = None,
    base_model: ModelVersion | None = None,
    reward_model: ModelVersion | None = None,
    without_reward_model: bool = False,
    endpoint: ChatEndpoint | None = None,
    title: str = "",
) -> Run:
    """Queue a run. `user` None is the machine's own administrator (a management command).

    Without a dataset the project's data of the usual kind is frozen now, and where that is much, by a worker: then the
    run waits for it (claim.py: data_is_there). Without models the promoted ones are taken, except where
    `without_reward_model` says that the further rewards in `params` are all. An `endpoint` is asked in place of a
    model.
    Raises UserError with the field that is wrong, PermissionDenied for anybody but the project's admins.
    """
    if user is not None:
        require(user, project, Membership.Role.ADMIN)
    offer = site_recipe(recipe)
    params = checked_params(recipe, params)
    if endpoint is not None:
        _check_endpoint(project, offer, endpoint)
        base_model = None
    else:
        base_model = _checked_model(project, base_model or project.policy, offer.base, "base_model")
    if offer.scored:
        reward_model = None if without_reward_model else reward_model or project.reward_model
        if reward_model is not None or not params.get("rewards"):
            reward_model = _checked_model(project, reward_model, ("reward",), "reward_model")
    elif reward_model is not None:
        raise UserError(_("%(offer)s takes no reward model.") % {"offer": offer.title}, field="reward_model")
    dataset = _checked_dataset(project, offer, dataset) if dataset else _snapshot(project, offer, user)
    check_sources(project, params, dataset)
    with transaction.atomic():
        run = Run.objects.create(
            project=project,
            recipe=recipe,
            title=title.strip(),
            params=params,
            dataset=dataset,
            base_model=base_model,
            reward_model=reward_model,
            endpoint=endpoint,
            created_by=user,
        )
        if dataset.is_ready:
            dispatch(run.pk)
    return run


def request_cancel(run: Run, user=None) -> None:
    """A queued run is cancelled at once; a running one within seconds, after a checkpoint. A finished one stays."""
    _require_admin(run, user)
    # First the wish, whichever of the two it is at the moment: nobody claims a queued run with it.
    Run.objects.filter(pk=run.pk, state__in=[Run.State.QUEUED, Run.State.RUNNING]).update(cancel_requested=True)
    waiting = Run.objects.filter(pk=run.pk, state=Run.State.QUEUED, cancel_requested=True)
    waiting.update(state=Run.State.CANCELLED, finished_at=timezone.now(), cancel_requested=False)
    run.refresh_from_db()


def resume(run: Run, user=None) -> None:
    """Queue a failed or cancelled run again, to go on from its newest checkpoint. Raises UserError for any other."""
    _require_admin(run, user)
    if run.dataset is not None and not run.dataset.is_ready:
        run.dataset = try_again(run.dataset)
        run.save(update_fields=["dataset"])
    with transaction.atomic():
        stopped = Run.objects.filter(pk=run.pk, state__in=[Run.State.FAILED, Run.State.CANCELLED])
        if not stopped.update(
            state=Run.State.QUEUED, attempt=0, cancel_requested=False, error="", finished_at=None, dispatched_at=None
        ):
            raise UserError(_("Only a failed or cancelled run can be resumed."))
        if run.dataset is None or run.dataset.is_ready:
            dispatch(run.pk)
    run.refresh_from_db()


def retry(run: Run, user=None) -> Run:
    """A new run with the same settings, data and models, from the start. Raises UserError while this one goes on."""
    if not run.is_finished:
        raise UserError(_("This run has not finished; cancel it first."))
    if hasattr(run, "round"):
        raise UserError(_("A round is not run twice: resume this run, or start a new round."))
    frozen = run.dataset if run.dataset is not None and run.dataset.is_ready else None
    return create_run(
        run.project, run.recipe, user=user, params=run.params, dataset=frozen, base_model=run.base_model,
        reward_model=run.reward_model, without_reward_model=run.reward_model is None, endpoint=run.endpoint,
        title=run.title,
    )


def _require_admin(run: Run, user) -> None:
    if user is not None:
        require(user, run.project, Membership.Role.ADMIN)


def _checked_model(project: Project, model: ModelVersion | None, kinds: tuple, field: str) -> ModelVersion:
    if model is None:
        need = {
            "reward_model": _("This needs a reward model (train one first), or further rewards."),
            "base_model": _("This needs a base model: add or train one first."),
        }[field]
        raise UserError(need, field=field)
    if model.project_id != project.pk:
        raise UserError(_("The model %(name)s belongs to another project.") % {"name": model.name}, field=field)
    if model.kind not in kinds:
        raise UserError(
            _("The model %(name)s is of the kind “%(kind)s”; needed is one of the kind “%(needed)s”.")
            % {"name": model.name, "kind": model.get_kind_display(), "needed": ModelVersion.Kind(kinds[0]).label},
            field=field,
        )
    model_path(model)
    return model


def _check_endpoint(project: Project, offer: SiteRecipe, endpoint: ChatEndpoint) -> None:
    if not offer.asks:
        raise UserError(_("%(recipe)s starts from a model of the project.") % {"recipe": offer.title}, field="endpoint")
    if endpoint.project_id != project.pk or not endpoint.enabled or endpoint.model_id is not None:
        raise UserError(_("This endpoint cannot be asked; choose an enabled one of the project."), field="endpoint")


def _snapshot(project: Project, offer: SiteRecipe, user) -> Dataset:
    """The project's data as it is now. An empty snapshot is taken back, so that a refusal leaves nothing behind."""
    began = timezone.now()
    freeze = create_snapshot if user is None else request_snapshot
    dataset = freeze(project, offer.data[0], user=user)
    if dataset.is_ready and not dataset.rows:
        if dataset.created_at >= began:
            dataset.delete()
        raise UserError(WHAT_IS_MISSING[dataset.kind], field="dataset")
    return dataset


def _checked_dataset(project: Project, offer: SiteRecipe, dataset: Dataset) -> Dataset:
    if dataset.project_id != project.pk:
        raise UserError(
            _("The dataset %(dataset)s belongs to another project.") % {"dataset": dataset}, field="dataset"
        )
    if dataset.kind not in offer.data:
        raise UserError(
            _("%(offer)s takes %(data)s; this dataset holds %(kind)s.")
            % {
                "offer": offer.title,
                "data": ", ".join(str(Dataset.Kind(kind).label) for kind in offer.data),
                "kind": dataset.get_kind_display(),
            },
            field="dataset",
        )
    if not dataset.is_ready:
        raise UserError(_("This dataset is not ready yet; start the run when it is."), field="dataset")
    dataset = dataset.same_as or dataset
    if not dataset.rows:
        raise UserError(WHAT_IS_MISSING[dataset.kind], field="dataset")
    return dataset
