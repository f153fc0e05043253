"""examples/expo: an app as its users would build it, by Metro, and in a browser against `make run`."""

import os
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from schema.adopt import schema
from schema.client_schema import render
from schema.client_versions import declared_tables, follow
from tests.api import PASSWORD, new_email
from tests.conftest import ROOT, alone
from tests.mails import CODE
from tests.servers.issuer import Issuer, providers_file
from tests.servers.stacks import Embedded, fetch
from tests.watermelon import PACKAGE

APP = ROOT / "examples/expo"
#: In the bundles, which Metro keeps by their sources alone; `origin` puts in the one of this run.
BACKEND = "http://backend.invalid/v1"

pytestmark = pytest.mark.backends("embedded")


@pytest.fixture(scope="module")
def installed(watermelon_installed: None) -> None:
    """The app's packages from its lock file, the client as it is now among them."""
    marker = APP / "node_modules/.package-lock.json"
    lock = APP / "package-lock.json"
    made_of = (lock, PACKAGE / "dist/cjs/package.json")
    with alone(lock):
        if not marker.exists() or marker.stat().st_mtime < max(f.stat().st_mtime for f in made_of):
            subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=APP, check=True)


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Issuer() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def make_run(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Iterator[Embedded]:
    server = Embedded(tmp_path_factory.mktemp("make_run") / "checkout")
    providers = server.directory / "providers.toml"
    providers.write_text(providers_file(example=issuer))
    server.settings["OIDC_PROVIDERS_FILE"] = str(providers)
    server.start()
    yield server
    server.stop()


def bundle(platform: str, directory: Path) -> Path:
    """Let Metro bundle the app for a platform into a directory; return the bundle."""
    export = ["npx", "expo", "export", "--no-bytecode", "--no-minify", "--output-dir", directory]
    done = subprocess.run(
        [*export, "--platform", platform],
        cwd=APP,
        env={
            **os.environ,
            "CI": "1",
            "EXPO_NO_TELEMETRY": "1",
            "EXPO_OFFLINE": "1",
            "EXPO_PUBLIC_BACKEND": BACKEND,
        },
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = (directory / "_expo/static/js" / platform).iterdir()
    return made


@pytest.fixture(scope="module")
def origin(
    installed: None, make_run: Embedded, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Where the app is served, at a port of its own as by `npx expo start --web`."""
    directory = tmp_path_factory.mktemp("web")
    made = bundle("web", directory)
    text = made.read_text()
    assert BACKEND in text
    made.write_text(text.replace(BACKEND, make_run.url))

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(directory)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


def opened(browser: Browser, origin: str) -> Iterator[Page]:
    """The app on a device of its own."""
    page = browser.new_page()
    page.goto(origin)
    yield page
    page.close()


phone, tablet = pytest.fixture(opened), pytest.fixture(opened)


def enter(page: Page, button: str, email: str) -> None:
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name=button).click()


def add(page: Page, title: str) -> None:
    page.get_by_label("New task").fill(title)
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_text(title)).to_be_visible()


def expect_status(page: Page, words: str) -> None:
    expect(page.get_by_role("status")).to_contain_text(words)


def test_the_app_compiles_under_strict(installed: None) -> None:
    done = subprocess.run(["npx", "tsc"], cwd=APP, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_its_schema_is_the_one_that_is_printed() -> None:
    printed = render(follow(schema.kept(ROOT), declared_tables()), typed=True)
    command = "make client-schema FORMAT=ts >examples/expo/src/schema.ts"
    assert (APP / "src/schema.ts").read_text() == printed, f"run {command}"


def test_metro_bundles_it_for_phones_with_sqlite_and_secure_storage(
    installed: None, tmp_path: Path
) -> None:
    text = bundle("android", tmp_path).read_text()
    assert "WMDatabaseBridge" in text
    assert "ExpoSecureStore" in text


def test_two_devices_sync_by_themselves(phone: Page, tablet: Page) -> None:
    email = new_email()
    enter(phone, "Register", email)
    add(phone, "Water the melons")
    enter(tablet, "Log in", email)
    expect(tablet.get_by_text("Water the melons")).to_be_visible()
    tablet.get_by_role("button", name="☐").click()
    # A nudge tells the other one.
    expect(phone.get_by_role("button", name="☑")).to_be_visible()


def test_what_was_written_offline_is_sent_when_the_device_is_online_again(
    phone: Page, tablet: Page
) -> None:
    email = new_email()
    enter(phone, "Register", email)
    expect_status(phone, "Synced")
    phone.context.set_offline(True)
    add(phone, "Pick the melons")
    phone.get_by_role("button", name="Sync").click()
    expect_status(phone, "Offline")
    # The task and its project.
    expect_status(phone, "2 to send")
    phone.context.set_offline(False)
    expect_status(phone, "0 to send")
    enter(tablet, "Log in", email)
    expect(tablet.get_by_text("Pick the melons")).to_be_visible()


def test_the_session_outlives_the_app(phone: Page) -> None:
    enter(phone, "Register", new_email())
    add(phone, "Eat a melon")
    expect_status(phone, "0 to send")
    phone.reload()
    expect(phone.get_by_text("Eat a melon")).to_be_visible()


def test_the_next_user_sees_nothing_of_the_one_before_and_sends_nothing_of_theirs(
    phone: Page, tablet: Page
) -> None:
    ann, bob = new_email(), new_email()
    enter(phone, "Register", ann)
    add(phone, "Of ann")
    expect_status(phone, "0 to send")
    phone.context.set_offline(True)
    add(phone, "Not sent")
    phone.get_by_role("button", name="Log out").click()
    phone.context.set_offline(False)
    enter(phone, "Register", bob)
    expect(phone.get_by_text("Another account was here")).to_be_visible()
    expect(phone.get_by_text("1 of its records")).to_be_visible()
    expect(phone.get_by_text("Of ann")).to_have_count(0)
    phone.get_by_role("button", name="Remove its records").click()
    expect_status(phone, "Synced")
    add(phone, "Of bob")
    expect_status(phone, "0 to send")
    expect(phone.get_by_text("Of ann")).to_have_count(0)
    enter(tablet, "Log in", bob)
    expect(tablet.get_by_text("Of bob")).to_be_visible()
    expect(tablet.get_by_text("Not sent")).to_have_count(0)


def test_a_forgotten_password_is_replaced_with_the_code_of_the_mail(
    phone: Page, make_run: Embedded
) -> None:
    email = new_email()
    enter(phone, "Register", email)
    phone.get_by_role("button", name="Log out").click()
    phone.get_by_label("E-mail").fill(email)
    phone.get_by_role("button", name="Forgot password").click()
    expect(phone.get_by_label("Code")).to_be_visible()
    mails = fetch(f"http://{make_run.address}/mail/messages.json")[2]
    mail = next(mail for mail in mails if mail["to"] == email)
    phone.get_by_label("Code").fill(CODE.findall(mail["text"])[0])
    phone.get_by_label("New password").fill("a new " + PASSWORD)
    phone.get_by_role("button", name="Set it and log in").click()
    add(phone, "Back again")
    expect_status(phone, "0 to send")


def test_a_provider_signs_in_without_a_password(phone: Page, issuer: Issuer) -> None:
    issuer.person = {"subject": "ann", "email": new_email()}
    with phone.expect_popup():
        phone.get_by_role("button", name="Sign in with example").click()
    add(phone, "Signed in by a provider")
