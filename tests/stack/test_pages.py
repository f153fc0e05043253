"""The playground and the page of the API, in a real Chromium."""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from mimetypes import guess_type
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from deploy.adopt import schema
from deploy.api import site
from deploy.api.client_schema import render
from deploy.api.client_versions import declared_tables, follow
from tests.conftest import ROOT, lacking, on_servers
from tests.servers.stacks import Server
from tests.stack.conftest import Start


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        lacking("chromium")
    with sync_playwright() as playwright:
        # Root, as whom CI runs, has no sandbox.
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page in which nothing may go wrong unseen."""
    page = browser.new_page(viewport={"width": 1100, "height": 900})
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    yield page
    page.close()
    assert wrong == []


def hosts_asked(page: Page) -> set[str]:
    """The hosts that the page will have sent requests to."""
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    return hosts


def edit_on_both_while_offline(page: Page) -> None:
    """What the page itself suggests, and what is to be seen of it."""
    phone, tablet = page.locator("#phone"), page.locator("#tablet")
    phone.locator(".add-project").click()
    phone.locator(".add-task").click()
    expect(phone.locator(".pending")).to_have_text(["new", "new"])
    page.locator("#sync-both").click()
    expect(tablet.locator(".task")).to_have_count(1)
    expect(phone.locator(".pending")).to_have_count(0)
    expect(phone.locator(".log")).to_contain_text("projects 1 created, tasks 1 created")
    before = phone.locator(".clock").inner_text()

    for device in (phone, tablet):
        device.locator(".line").click()
        expect(device.locator(".sync")).to_be_disabled()
    title = phone.get_by_label("task", exact=True)
    title.fill("Water the melons")
    title.press("Enter")
    expect(phone.locator(".pending")).to_contain_text("title")
    tablet.get_by_label("done").check()
    expect(tablet.locator(".pending")).to_contain_text("is_completed")
    for device in (phone, tablet):
        device.locator(".line").click()
    for device in (phone, tablet, phone):
        device.locator(".sync").click()
        expect(device.locator(".sync")).to_have_text("Sync")
        expect(device.locator(".pending")).to_have_count(0)
    for device in (phone, tablet):
        expect(device.get_by_label("task", exact=True)).to_have_value("Water the melons")
        expect(device.get_by_label("done")).to_be_checked()
    expect(tablet.locator(".log")).to_contain_text("merged “Water the melons”")
    assert phone.locator(".clock").inner_text() != before

    phone.get_by_label("delete the task", exact=True).click()
    page.locator("#sync-both").click()
    expect(tablet.locator(".task")).to_have_count(0)
    expect(tablet.locator(".log")).to_contain_text("tasks 1 deleted")


#: Only `make run` serves the playground.
@pytest.mark.backends("embedded")
def test_two_devices_in_the_page_of_make_run_merge_their_edits(server: Server, page: Page) -> None:
    hosts = hosts_asked(page)
    page.goto(f"http://127.0.0.1:{server.port}/")
    edit_on_both_while_offline(page)
    assert hosts == {f"127.0.0.1:{server.port}"}


@pytest.mark.backends("embedded")
def test_the_page_fits_a_phone(server: Server, page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(f"http://127.0.0.1:{server.port}/")
    page.locator("#phone .add-project").click()
    page.locator("#phone .add-task").click()
    expect(page.locator("#phone .pending")).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth") == 360


@contextmanager
def elsewhere() -> Iterator[str]:
    """The playground at an origin of its own."""
    files = site.playground()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = urlsplit(self.path).path.removeprefix("/") or "index.html"
            self.send_response(200 if name in files else 404)
            self.send_header("Content-Type", guess_type(name)[0] or "text/plain")
            self.end_headers()
            self.wfile.write(files.get(name, b""))

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@on_servers
def test_a_page_of_an_origin_that_cors_allows_may_use_the_gateway(start: Start, page: Page) -> None:
    with elsewhere() as origin:
        backend = start(CORS_ALLOWED_ORIGINS=origin)
        page.goto(f"{origin}/?backend={backend}")
        edit_on_both_while_offline(page)


@on_servers
def test_a_page_of_another_origin_may_not_by_cors(start: Start, browser: Browser) -> None:
    with elsewhere() as origin:
        backend = start(CORS_ALLOWED_ORIGINS="https://app.example.com")
        page = browser.new_page()
        page.goto(f"{origin}/?backend={backend}")
        expect(page.locator("#status")).to_contain_text("cannot be used")
        page.close()


def test_the_page_of_the_api_sends_requests_and_asks_nobody_else(
    server: Server, page: Page
) -> None:
    hosts = hosts_asked(page)
    base = server.url.removesuffix("/v1")
    page.goto(f"{base}/docs")
    call = page.locator("#operations-auth-get_auth_jwks_json")
    call.click()
    call.get_by_role("button", name="Try it out").click()
    call.get_by_role("button", name="Execute").click()
    expect(call.locator(".live-responses-table")).to_contain_text("Ed25519")
    assert hosts == {urlsplit(base).netloc}


@pytest.mark.usefixtures("watermelon_installed")
def test_the_bundle_is_made_of_what_is_there_now(tmp_path: Path) -> None:
    subprocess.run([ROOT / "client/playground/build.sh", tmp_path / "bundle.js"], check=True)
    kept = ROOT / "client/playground/bundle.js"
    assert kept.read_bytes() == (tmp_path / "bundle.js").read_bytes(), "run make playground"


def test_the_schema_of_the_page_is_the_one_that_is_printed() -> None:
    kept = ROOT / "client/playground/schema.js"
    printed = follow(schema.kept(ROOT), declared_tables())
    assert kept.read_text() == render(printed, typed=False), "run make playground"
