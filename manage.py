#!/usr/bin/env python
"""Django's command line for the annotate wing."""

import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "annotate.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db import OperationalError

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(str(error))
    except (OSError, OperationalError) as error:
        from annotate.disk import is_disk_full

        if not is_disk_full(error):
            raise
        sys.exit(f"The disk is full, so nothing was changed ({error}).")
