"""An uploaded file on its way to the importers, which read from disk and tell formats by the name's ending."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.core.files.uploadedfile import UploadedFile

from annotate.datasets.importing import ImportReport, import_file
from annotate.models import Project


def import_upload(
    project: Project, uploaded: UploadedFile, kind: str, *, format: str, user, rankings: bool = False
) -> ImportReport:
    """As `import_file`, for a file out of a request."""
    with as_path(uploaded) as path:
        filename = Path(uploaded.name).name
        return import_file(project, path, kind, format=format, rankings=rankings, user=user, filename=filename)


@contextmanager
def as_path(uploaded: UploadedFile) -> Iterator[Path]:
    """The upload as a file for as long as the block lasts. Only the endings of its name reach the disk."""
    with tempfile.TemporaryDirectory(prefix="prefloop-upload-") as folder:
        path = Path(folder) / f"upload{''.join(Path(uploaded.name).suffixes[-2:])}"
        with open(path, "wb") as file:
            for chunk in uploaded.chunks():
                file.write(chunk)
        yield path
