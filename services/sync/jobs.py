"""The app's own jobs: commands of `flask --app services.sync jobs` (docs/jobs.md)."""

from flask.cli import AppGroup

jobs = AppGroup("jobs", help="Run a job of the app's own.")
