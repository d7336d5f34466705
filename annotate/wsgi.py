"""The WSGI entry point that gunicorn serves."""

import gc
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "annotate.settings")
application = get_wsgi_application()

# What is loaded by now stays, and a request makes many small objects that die with it: looking for cycles after every
# 700 of them took a seventh of a submit's time (benchmarks/labeling_load.py).
gc.collect()
gc.freeze()
gc.set_threshold(50_000, 50, 100)
