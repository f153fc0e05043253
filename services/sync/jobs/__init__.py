"""The app's own jobs (docs/jobs.md): modules here, with commands of `flask --app services.sync jobs`."""

from importlib import import_module
from pkgutil import iter_modules

from flask.cli import AppGroup

jobs = AppGroup("jobs", help="Run a job of the app's own.")

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
