"""The playground of `make run`, in a real Chromium."""

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from mimetypes import guess_type
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from deploy.local.machine import network_address
from services.embedded import playground
from services.openapi import describe
from tests.conftest import ROOT, lacking, on_servers
from tests.servers.stacks import Embedded, Server
from tests.stack.conftest import Start
from tests.stack.test_pages import hosts_asked, serious_barriers
from tests.watermelon import HERE

#: Only `make run` serves the playground.
embedded = pytest.mark.backends("embedded")


def open_playground(page: Page, address: str) -> tuple[Locator, Locator]:
    """Open the page and wait until both devices are signed in; return them."""
    page.goto(address)
    expect(page.get_by_role("status")).to_contain_text("Signed in")
    return page.locator("#phone"), page.locator("#tablet")


def sync(*devices: Locator) -> None:
    for device in devices:
        device.locator(".sync").click()
        expect(device.locator(".sync")).to_have_text("Sync")


def add_task(device: Locator) -> None:
    """Add a project and a task of it."""
    device.locator("[data-table=projects] .add").click()
    device.locator("[data-table=tasks] .add").click()
    expect(device.locator("[data-table=tasks] .row")).to_have_count(1)


def rename(device: Locator, before: str, after: str) -> None:
    field = device.get_by_label(f"title of {before}")
    field.fill(after)
    field.press("Enter")
    expect(device.locator("[data-table=tasks] .pending")).to_contain_text("title not sent")


@pytest.fixture
def devices(server: Server, page: Page) -> tuple[Locator, Locator]:
    """A phone and a tablet in the page, which have one task, synced."""
    phone, tablet = open_playground(page, f"http://127.0.0.1:{server.port}/")
    add_task(phone)
    sync(phone, tablet)
    return phone, tablet


def edit_on_both_while_offline(page: Page) -> None:
    """What the page itself suggests, and what is to be seen of it."""
    expect(page.get_by_role("status")).to_contain_text("Signed in")
    phone, tablet = page.locator("#phone"), page.locator("#tablet")
    add_task(phone)
    expect(phone.locator(".pending")).to_have_text(["new, not sent"] * 2)
    page.locator("#sync-both").click()
    expect(tablet.locator("[data-table=tasks] .row")).to_have_count(1)
    expect(phone.locator(".pending")).to_have_count(0)
    expect(phone.locator(".log")).to_contain_text("projects 1 created, tasks 1 created")
    before = phone.locator(".clock").inner_text()

    for device in (phone, tablet):
        device.get_by_role("switch", name="Online").uncheck()
        expect(device.locator(".sync")).to_be_disabled()
    rename(phone, "Task 1", "Water the melons")
    tablet.get_by_label("is_completed of").check()
    expect(tablet.locator(".pending")).to_contain_text("is_completed")
    for device in (phone, tablet):
        device.get_by_role("switch", name="Online").check()
    sync(phone, tablet, phone)
    for device in (phone, tablet):
        expect(device.get_by_label("title of")).to_have_value("Water the melons")
        expect(device.get_by_label("is_completed of")).to_be_checked()
        expect(device.locator(".pending")).to_have_count(0)
    assert phone.locator(".clock").inner_text() != before

    phone.get_by_label("Delete Water the melons").click()
    page.locator("#sync-both").click()
    expect(tablet.locator("[data-table=tasks] .row")).to_have_count(0)
    expect(tablet.locator(".log")).to_contain_text(
        "“Water the melons” of tasks was deleted by Phone"
    )


@embedded
def test_two_devices_in_the_page_of_make_run_merge_their_edits(server: Server, page: Page) -> None:
    hosts = hosts_asked(page)
    page.goto(f"http://127.0.0.1:{server.port}/")
    edit_on_both_while_offline(page)
    assert hosts == {f"127.0.0.1:{server.port}"}


@embedded
def test_a_row_lights_up_and_says_which_column_came_from_which_device(
    devices: tuple[Locator, Locator],
) -> None:
    phone, tablet = devices
    expect(tablet.locator(".lit .from")).to_have_text(["new, from Phone"] * 2)
    rename(phone, "Task 1", "Water the melons")
    tablet.get_by_label("is_completed of").check()
    sync(phone, tablet, phone)
    expect(tablet.locator(".lit")).to_have_count(1)
    expect(tablet.locator(".lit .from")).to_have_text(
        "title: “Task 1” became “Water the melons”, from Phone"
    )
    expect(phone.locator(".lit .from")).to_have_text("is_completed: no became yes, from Tablet")
    sync(phone, tablet)
    expect(phone.locator(".lit")).to_have_count(0)


@embedded
def test_both_devices_say_what_an_overridden_edit_became(devices: tuple[Locator, Locator]) -> None:
    phone, tablet = devices
    rename(phone, "Task 1", "Water the melons")
    rename(tablet, "Task 1", "Pick the melons")
    sync(phone, tablet, phone)
    expect(tablet.locator(".lit .from")).to_have_text(
        "title: “Water the melons”, from Phone, gives way to your “Pick the melons”"
    )
    expect(phone.locator(".lit .from")).to_have_text(
        "title: your “Water the melons” became “Pick the melons”, from Tablet"
    )


@embedded
def test_an_edit_that_goes_with_a_deleted_record_is_told(devices: tuple[Locator, Locator]) -> None:
    phone, tablet = devices
    rename(phone, "Task 1", "Water the melons")
    tablet.get_by_label("Delete Project 1").click()
    expect(tablet.locator(".row")).to_have_count(0)
    sync(tablet, phone)
    expect(phone.locator(".row")).to_have_count(0)
    expect(phone.locator(".log")).to_contain_text(
        "“Water the melons” of tasks was deleted by Tablet, and with it your title “Water the melons”"
    )


@embedded
def test_an_offline_device_says_so_and_how_much_waits(devices: tuple[Locator, Locator]) -> None:
    phone, _ = devices
    expect(phone.locator(".band")).to_be_hidden()
    phone.get_by_role("switch", name="Online").uncheck()
    rename(phone, "Task 1", "Water the melons")
    expect(phone.locator(".band")).to_have_text("Offline. Changes are kept here: 1 not sent yet.")


@embedded
def test_a_device_that_loses_the_answers_loses_and_doubles_nothing(
    devices: tuple[Locator, Locator], page: Page
) -> None:
    phone, tablet = devices
    phone.get_by_role("switch", name="Lose the answers").check()
    phone.locator("[data-table=tasks] .add").click()
    expect(phone.locator("[data-table=tasks] .row")).to_have_count(2)
    sync(phone)
    expect(page.get_by_role("status")).to_contain_text("what arrived is not applied twice")
    expect(phone.locator(".log")).to_contain_text("pushed, and the answer got lost")
    expect(phone.locator(".pending")).to_have_text(["new, not sent"])
    # It did arrive.
    sync(tablet)
    expect(tablet.locator("[data-table=tasks] .row")).to_have_count(2)
    phone.get_by_role("switch", name="Lose the answers").uncheck()
    sync(phone, tablet, phone)
    for device in devices:
        expect(device.locator(".pending, .wrong")).to_have_count(0 if device is tablet else 1)
        expect(device.locator("[data-table=tasks] .row")).to_have_count(2)


@embedded
def test_times_are_readable(devices: tuple[Locator, Locator]) -> None:
    phone, _ = devices
    assert re.fullmatch(r"Last pull: \d\d:\d\d:\d\d\.\d{3}", phone.locator(".clock").inner_text())
    phone.get_by_text("description, created_at, updated_at").first.click()
    created, updated = phone.locator("details[open] time").all_inner_texts()
    assert created == updated
    assert re.search(r"\b20\d\d\b.*\d\d:\d\d", created)
    assert not re.search(r"\d{13}", phone.inner_text())


@embedded
def test_focus_and_what_is_being_typed_survive_a_sync(
    devices: tuple[Locator, Locator], page: Page
) -> None:
    phone, tablet = devices
    rename(tablet, "Task 1", "Water the melons")
    sync(tablet)
    phone.locator("[data-table=tasks] .more").click()
    phone.get_by_label("description of Task 1").press_sequentially("With a c")
    # By script, so that nothing but the sync could move the focus.
    phone.locator(".sync").evaluate("button => button.click()")
    expect(page.get_by_role("status")).to_contain_text("Phone is synced: tasks 1")
    expect(phone.get_by_label("title of Water the melons")).to_have_value("Water the melons")
    field = phone.get_by_label("description of Water the melons")
    expect(field).to_be_focused()
    page.keyboard.type("an")
    page.keyboard.press("Enter")
    expect(field).to_have_value("With a can")
    expect(phone.locator(".pending")).to_have_text("description not sent")


def press_until(page: Page, target: Locator, key: str = "Tab") -> None:
    """Move the focus on by a key until it is there."""
    for _ in range(60):
        if target.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press(key)
    pytest.fail("the focus never gets there")


@embedded
def test_the_keyboard_is_enough_and_the_focus_is_never_lost(server: Server, page: Page) -> None:
    phone, tablet = open_playground(page, f"http://127.0.0.1:{server.port}/")
    for table in ("projects", "tasks", "tasks"):
        press_until(page, phone.locator(f"[data-table={table}] .add"))
        page.keyboard.press("Enter")
        expect(phone.locator(".row").last).to_be_visible()
        expect(phone.locator(f"[data-table={table}] .add")).to_be_focused()
    expect(phone.locator("[data-table=tasks] .row")).to_have_count(2)
    press_until(page, phone.locator(".sync"), "Shift+Tab")
    page.keyboard.press("Enter")
    expect(phone.locator(".pending")).to_have_count(0)
    expect(phone.locator(".sync")).to_be_focused()
    press_until(page, tablet.get_by_role("switch", name="Online"))
    page.keyboard.press("Space")
    expect(tablet.locator(".band")).to_be_visible()
    page.keyboard.press("Space")
    press_until(page, tablet.locator(".sync"), "Shift+Tab")
    page.keyboard.press("Enter")
    expect(tablet.locator("[data-table=tasks] .row")).to_have_count(2)
    press_until(page, tablet.get_by_label("is_completed of Task 1"))
    page.keyboard.press("Space")
    expect(tablet.locator(".pending")).to_have_text("is_completed not sent")
    # Who deletes a row goes on with the next, and after the last with the button that adds one.
    press_until(page, tablet.get_by_label("Delete Task 1"))
    page.keyboard.press("Enter")
    expect(tablet.get_by_label("Delete Task 2")).to_be_focused()
    page.keyboard.press("Enter")
    expect(tablet.locator("[data-table=tasks] .add")).to_be_focused()


@embedded
def test_a_row_that_another_device_deletes_hands_on_the_focus(
    devices: tuple[Locator, Locator], page: Page
) -> None:
    phone, tablet = devices
    tablet.get_by_label("Delete Task 1").click()
    sync(tablet)
    phone.get_by_label("title of Task 1").focus()
    phone.locator(".sync").evaluate("button => button.click()")
    expect(phone.locator("[data-table=tasks] .row")).to_have_count(0)
    expect(phone.locator("[data-table=tasks] .add")).to_be_focused()


#: Of every control that is to be seen (no link in a text): its name, and the size of what can be hit.
CONTROLS = """() => [...document.querySelectorAll('button, input, select, summary, a.button')]
    .filter((control) => control.checkVisibility())
    .map((control) => {
        const hit = control.closest('label:is(.line, .lose, .tick)') ?? control
        const { width, height } = hit.getBoundingClientRect()
        const name = control.getAttribute('aria-label') || hit.innerText
        return { name, width, height, isField: Boolean(control.closest('#phone section')) }
    })"""


@embedded
@pytest.mark.parametrize("width", [1100, 360])
def test_every_control_has_a_name_of_its_own_and_a_target_of_44_pixels(
    devices: tuple[Locator, Locator], page: Page, width: int
) -> None:
    phone, _ = devices
    page.set_viewport_size({"width": width, "height": 740})
    phone.locator("[data-table=tasks] .add").click()
    expect(phone.locator("[data-table=tasks] .row")).to_have_count(2)
    for summary in page.locator("summary").all():
        summary.click()
    controls = page.evaluate(CONTROLS)
    assert [one for one in controls if min(one["width"], one["height"]) < 44] == []
    assert all(one["name"] for one in controls)
    fields = [one["name"] for one in controls if one["isField"]]
    assert "title of Task 2" in fields
    assert len(fields) == len(set(fields))


@embedded
@pytest.mark.usefixtures("watermelon_installed")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_devices_with_rows_have_no_serious_barrier(
    devices: tuple[Locator, Locator], page: Page, scheme: Any
) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    phone, tablet = devices
    rename(phone, "Task 1", "Water the melons")
    tablet.get_by_role("switch", name="Online").uncheck()
    for summary in page.locator("summary").all():
        summary.click()
    assert serious_barriers(page) == {}


@embedded
def test_the_page_fits_a_phone(devices: tuple[Locator, Locator], page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") == 360


@embedded
def test_a_guest_who_accepts_shares_edits_that_light_up_by_themselves(
    server: Server, page: Page
) -> None:
    phone, tablet = open_playground(page, f"http://127.0.0.1:{server.port}/")
    add_task(phone)
    sync(phone)
    page.get_by_role("button", name="Invite a guest").click()
    guest = page.locator("#guest")
    expect(guest.get_by_role("button", name="Accept")).to_be_focused()
    # Another device of the one who invites is nudged already; nothing is the guest's before they accept.
    shared = tablet.get_by_label("name of Of our space")
    expect(shared).to_have_value("Of our space")
    sync(guest)
    expect(guest.locator(".row")).to_have_count(0)
    guest.get_by_role("button", name="Accept").press("Enter")
    expect(guest.locator(".sync")).to_be_focused()
    name = guest.get_by_label("name of Of our space")
    expect(name).to_have_value("Of our space")
    expect(guest.locator(".row")).to_have_count(1)
    name.fill("Of us three")
    name.press("Enter")
    sync(guest)
    for device in (phone, tablet):
        expect(device.locator(".lit .from")).to_have_text(
            "name: “Of our space” became “Of us three”, from Guest"
        )
    # Moved into the space, a record takes what is below it along.
    phone.locator("[data-table=projects] .more").first.click()
    phone.get_by_label("space_id of Project 1", exact=True).select_option("Our space")
    sync(phone)
    expect(guest.locator("[data-table=tasks] .row")).to_have_count(1)


@embedded
def test_an_offline_device_hears_nothing_and_catches_up(server: Server, page: Page) -> None:
    phone, tablet = open_playground(page, f"http://127.0.0.1:{server.port}/")
    page.get_by_role("button", name="Invite a guest").click()
    expect(tablet.get_by_label("name of Of our space")).to_be_visible()
    tablet.get_by_role("switch", name="Online").uncheck()
    add_task(phone)
    sync(phone)
    expect(tablet.locator("[data-table=tasks] .row")).to_have_count(0)
    tablet.get_by_role("switch", name="Online").check()
    expect(tablet.locator("[data-table=tasks] .row")).to_have_count(1)


def join_link(page: Page) -> str:
    page.locator("#join summary").click()
    link = page.locator("#join a").get_attribute("href")
    assert link
    return link


@embedded
def test_another_browser_joins_by_a_link_whose_secret_no_server_is_sent(
    server: Server, devices: tuple[Locator, Locator], page: Page, browser: Browser
) -> None:
    phone, _ = devices
    link = join_link(page)
    secret = link.partition("#")[2].partition(",")[2]
    assert len(secret) > 30
    other = browser.new_context().new_page()
    asked: list[str] = []
    other.on("request", lambda request: asked.append(f"{request.url} {request.headers}"))
    other.goto(link)
    expect(other.get_by_role("status")).to_contain_text("Signed in")
    device = other.locator("article")
    sync(device)
    rename(device, "Task 1", "Water the melons")
    sync(device, phone)
    expect(phone.locator(".lit .from")).to_have_text(
        "title: “Task 1” became “Water the melons”, from another device"
    )
    other.context.close()
    assert asked
    assert secret not in "".join(asked)
    assert isinstance(server, Embedded)
    assert secret not in server.log


@embedded
def test_the_account_gets_a_code_for_a_new_password(server: Server, page: Page) -> None:
    open_playground(page, f"http://127.0.0.1:{server.port}/")
    page.get_by_text("The account").click()
    page.get_by_role("button", name="Forgot password").click()
    said = page.locator("#account [aria-live]")
    expect(said).to_contain_text("A code for a new password")
    with page.expect_popup() as mails:
        said.get_by_role("link").click()
    expect(mails.value.get_by_text("/account/reset?").first).to_be_visible()


@embedded
def test_a_link_of_an_account_that_is_gone_says_what_to_do(
    server: Server, browser: Browser
) -> None:
    # Chromium itself complains of every 4xx, which `page` takes for a fault.
    page = browser.new_page()
    page.goto(f"http://127.0.0.1:{server.port}/#join=nobody@example.org,nothing-at-all")
    expect(page.get_by_role("status")).to_contain_text("Scan the code of a page that is open.")
    page.close()


@embedded
def test_on_localhost_alone_the_page_says_how_a_phone_gets_in(
    devices: tuple[Locator, Locator], page: Page
) -> None:
    join_link(page)
    expect(page.locator("#join")).to_contain_text("HOST=0.0.0.0 make run")
    expect(page.locator("#join img")).to_have_count(0)


def decode_qr(image: Locator, directory: Path) -> str:
    """What a phone's camera reads, by the library's reader."""
    bundle = directory / "decode.js"
    command = [HERE / "node_modules/.bin/esbuild", HERE / "node_modules/qr/decode.js", "--bundle"]
    subprocess.run(
        [
            *command,
            "--format=iife",
            "--global-name=QR",
            "--log-level=warning",
            f"--outfile={bundle}",
        ],
        check=True,
    )
    image.page.evaluate(f"{bundle.read_text()}; globalThis.decodeQR = QR.decodeQR; null")
    text: str = image.evaluate(
        """image => {
            const canvas = document.createElement('canvas')
            canvas.width = canvas.height = 480
            const context = canvas.getContext('2d')
            context.drawImage(image, 0, 0, 480, 480)
            return decodeQR(context.getImageData(0, 0, 480, 480))
        }"""
    )
    return text


@embedded
@pytest.mark.usefixtures("watermelon_installed")
def test_the_qr_code_leads_a_phone_in_the_network_to_the_same_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: Page, browser: Browser
) -> None:
    if (address := network_address()) is None:
        lacking("a network")
    monkeypatch.setenv("HOST", "0.0.0.0")
    server = Embedded(tmp_path / "checkout")
    server.start()
    try:
        phone, _ = open_playground(page, f"http://localhost:{server.port}/")
        add_task(phone)
        sync(phone)
        join_link(page)
        link = decode_qr(page.locator("#join img"), tmp_path)
        assert link.startswith(f"http://{address}:{server.port}/#join=")
        context = browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True)
        other = context.new_page()
        other.goto(link)
        expect(other.get_by_role("status")).to_contain_text("Signed in")
        sync(other.locator("article"))
        expect(other.get_by_label("title of")).to_have_value("Task 1")
        context.close()
    finally:
        server.stop()


@embedded
def test_a_server_that_is_gone_is_told_with_what_to_do(tmp_path: Path, browser: Browser) -> None:
    server = Embedded(tmp_path / "checkout")
    server.start()
    # Chromium itself complains of connections that are refused.
    page = browser.new_page()
    phone, _ = open_playground(page, f"http://127.0.0.1:{server.port}/")
    add_task(phone)
    assert server.stop() == 0
    sync(phone)
    said = f"{server.url} does not answer. Is `make run` still running?"
    expect(page.get_by_role("status")).to_have_text(f"Phone: {said}")
    expect(phone.locator(".log")).to_contain_text(said)
    server.start()
    sync(phone)
    expect(phone.locator(".pending")).to_have_count(0)
    server.stop()
    page.close()


@embedded
def test_an_own_table_appears_by_its_declaration_alone(tmp_path: Path, page: Page) -> None:
    server = Embedded(tmp_path / "checkout")
    shutil.copytree(ROOT / "schema", server.directory / "schema")
    declared = (ROOT / "tests/own_table/comment.txt").read_text()
    (server.directory / "shared/models/comments.py").write_text(
        f"{declared}    read_at: Mapped[int | None] = columns.date()\n"
    )
    command = [sys.executable, "-m", "schema.migration", "add comments"]
    subprocess.run(command, cwd=server.directory, env={**os.environ, "PYTHONPATH": ""}, check=True)
    server.start()
    try:
        phone, tablet = open_playground(page, f"http://127.0.0.1:{server.port}/")
        add_task(phone)
        phone.locator("[data-table=comments] .add").click()
        phone.get_by_label("is_pinned of Comment 1").check()
        phone.locator("[data-table=comments] .more").click()
        stars = phone.get_by_label("stars of Comment 1", exact=True)
        stars.fill("4.5")
        stars.press("Enter")
        phone.get_by_label("read_at of Comment 1", exact=True).fill("2027-01-02T03:04:05")
        expect(phone.get_by_label("task_id of Comment 1")).to_have_value(re.compile("."))
        sync(phone, tablet)
        expect(tablet.get_by_label("is_pinned of Comment 1")).to_be_checked()
        tablet.locator("[data-table=comments] .more").click()
        expect(tablet.get_by_label("stars of Comment 1", exact=True)).to_have_value("4.5")
        read_at = tablet.get_by_label("read_at of Comment 1", exact=True)
        expect(read_at).to_have_value("2027-01-02T03:04:05")
        expect(tablet.get_by_label("task_id of Comment 1")).to_contain_text("Task 1")
    finally:
        server.stop()


def test_what_the_page_asks_for_tells_no_more_than_the_description_of_the_api(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("HOST", raising=False)
    told = playground.describe()
    assert set(told) == {"tables", "phones"}
    assert told["phones"] is None
    schemas = describe()["components"]["schemas"]
    assert {table["name"] for table in told["tables"]} == set(schemas["Changes"]["properties"])
    for table in told["tables"]:
        described = set(schemas[f"{table['name']}.record"]["properties"])
        assert {"id", *(column["name"] for column in table["columns"])} == described
    known = {"name", "type", "isOptional", "isIndexed", "isDate", "parent", "cascades", "isSpace"}
    assert {key for table in told["tables"] for c in table["columns"] for key in c} == known


@contextmanager
def elsewhere() -> Iterator[str]:
    """The playground at an origin of its own."""
    files = playground.pages()

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
        expect(page.locator("#status")).to_contain_text("(CORS_ALLOWED_ORIGINS)?")
        page.close()


@pytest.mark.usefixtures("watermelon_installed")
def test_the_bundle_is_made_of_what_is_there_now(tmp_path: Path) -> None:
    subprocess.run([ROOT / "client/playground/build.sh", tmp_path / "bundle.js"], check=True)
    kept = ROOT / "client/playground/bundle.js"
    assert kept.read_bytes() == (tmp_path / "bundle.js").read_bytes(), "run make playground"
