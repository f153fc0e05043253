"""The base class of all models, and the two engines behind it.

The second engine, the bind `look_ups`, is for `shared.database.transaction.look_up`.
"""

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import MetaData
from sqlalchemy.engine import make_url
from sqlalchemy.orm import DeclarativeBase

from shared.database import engines, received


class Base(DeclarativeBase):
    """The base class of all models."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


# Values read in a transaction stay readable after its commit: use cases return them.
db = SQLAlchemy(model_class=Base, session_options={"expire_on_commit": False})


def init_app(app: Flask) -> None:
    """Bind `db` to the app's `DATABASE_URL`."""
    url = make_url(app.config["DATABASE_URL"])
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engines.engine_options(url)
    app.config["SQLALCHEMY_BINDS"] = {"look_ups": {"url": url, **engines.look_up_options(url)}}
    db.init_app(app)
    with app.app_context():
        engine, look_ups = db.engine, db.engines["look_ups"]
    engines.prepare(engine)
    engines.spare_rollbacks(engine)
    engines.keep_usable(engine, look_ups)
    received.receive_more(engine)
    for one, answer_s in ((engine, engines.STATEMENT_S), (look_ups, engines.LOOK_UP_S)):
        engines.share_tls(one)
        engines.limit_waits(one, answer_s)
        engines.observe(one, app.config["SLOW_SQL_MS"])
