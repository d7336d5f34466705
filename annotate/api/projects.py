"""Projects, guidelines and people."""

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework.response import Response

from annotate import access, projects
from annotate.api import serializers
from annotate.api.views import ProjectView, ServiceView
from annotate.models import User

ADMIN = access.Role.ADMIN


class Projects(ServiceView):
    @extend_schema(responses=serializers.ProjectSerializer(many=True))
    def get(self, request):
        """The projects that you have a role in."""
        return self.paged(access.projects_for(request.user).order_by("name"), serializers.ProjectSerializer)

    @extend_schema(request=serializers.NewProject, responses={201: serializers.ProjectSerializer})
    def post(self, request):
        """A new project; for administrators of the site."""
        project = projects.create_project(request.user, **self.read(serializers.NewProject))
        return Response(serializers.ProjectSerializer(project).data, status=201)


class Project(ProjectView):
    roles = {"PATCH": ADMIN}

    @extend_schema(responses=serializers.ProjectSerializer)
    def get(self, request, slug):
        """The project with its settings."""
        return Response(serializers.ProjectSerializer(self.project).data)

    @extend_schema(request=serializers.ProjectSettings, responses=serializers.ProjectSerializer)
    def patch(self, request, slug):
        """Changes the settings that are named."""
        project = projects.update_project(self.project, request.user, **self.read(serializers.ProjectSettings))
        return Response(serializers.ProjectSerializer(project).data)


class Guidelines(ProjectView):
    roles = {"PUT": ADMIN}

    @extend_schema(responses=serializers.GuidelinesSerializer)
    def get(self, request, slug):
        """The version that annotators see now."""
        return self._answer(projects.current_guidelines(self.project))

    @extend_schema(request=serializers.GuidelinesSerializer, responses=serializers.GuidelinesSerializer)
    def put(self, request, slug):
        """A new version, unless the text is the same."""
        given = self.read(serializers.GuidelinesSerializer)
        return self._answer(projects.set_guidelines(self.project, request.user, given["text"], minor=given["minor"]))

    def _answer(self, version) -> Response:
        if version is None:
            raise Http404
        return Response(serializers.GuidelinesSerializer(version).data)


class Members(ProjectView):
    roles = {"GET": ADMIN, "POST": ADMIN}

    @extend_schema(responses=serializers.MemberSerializer(many=True))
    def get(self, request, slug):
        """Who is in the project, and in which role."""
        members = self.project.memberships.select_related("user").order_by("user__username")
        return self.paged(members, serializers.MemberSerializer)

    @extend_schema(request=serializers.MemberSerializer, responses=serializers.MemberSerializer)
    def post(self, request, slug):
        """Gives an account a role, in place of the one it had."""
        given = self.read(serializers.MemberSerializer)
        member = projects.add_member(self.project, given["user"]["username"], given["role"], user=request.user)
        return Response(serializers.MemberSerializer(member).data)


class Member(ProjectView):
    roles = {"DELETE": ADMIN}

    @extend_schema(responses={204: None})
    def delete(self, request, slug, username):
        """Takes the role away; judgments stay."""
        person = User.objects.filter(username=username, memberships__project=self.project).first()
        if person is None:
            raise Http404
        projects.remove_member(self.project, person, user=request.user)
        return Response(status=204)
