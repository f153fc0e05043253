"""The page of the API and those of an account, in a real Chromium."""

import json
import re
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.api import PASSWORD, assert_problem, new_email
from tests.conftest import ROOT
from tests.servers.stacks import Server
from tests.stack.http_api import HttpApi


def serious_barriers(page: Page) -> dict[str, list[str]]:
    """What axe finds on the page as it is now: elements by rule."""
    # Not as a script of the page, whose policy allows none but its own.
    page.evaluate((ROOT / "tests/watermelon/node_modules/axe-core/axe.min.js").read_text())
    # What Swagger UI draws is not ours.
    found = page.evaluate("axe.run({exclude: [['#api > *']]})")
    return {
        one["id"]: [node["html"] for node in one["nodes"]]
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    }


def hosts_asked(page: Page) -> set[str]:
    """The hosts that the page will have sent requests to."""
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    return hosts


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


#: The page is the same behind the gateway, where the test before this one sends requests from it.
@pytest.mark.backends("embedded")
def test_a_login_in_the_page_of_the_api_authorizes_the_calls_after_it(
    server: Server, page: Page
) -> None:
    page.goto(f"{server.url.removesuffix('/v1')}/docs")
    email = json.dumps(new_email())
    for call, expected in (
        ("auth-post_auth_register", "accessToken"),
        ("sync-get_sync", "changes"),
    ):
        operation = page.locator(f"#operations-{call}")
        operation.locator("button.opblock-summary-control").click()
        operation.get_by_role("button", name="Try it out").click()
        if call == "auth-post_auth_register":
            body = operation.locator("textarea")
            body.fill(re.sub(r'"ann@[^"]*"', email, body.input_value()))
        operation.get_by_role("button", name="Execute").click()
        expect(operation.locator(".live-responses-table")).to_contain_text(expected)


#: The pages that people see.
PAGES = ("/", "/docs", "/mail/", "/account/reset", "/account/verify", "/account/delete")


@pytest.mark.backends("embedded")
@pytest.mark.usefixtures("watermelon_installed")
@pytest.mark.parametrize("path", PAGES)
def test_a_page_has_no_serious_barrier(server: Server, page: Page, path: str) -> None:
    page.goto(server.url.removesuffix("/v1") + path)
    page.wait_for_load_state("networkidle")
    assert serious_barriers(page) == {}


def open_link(page: Page, server: Server, email: str, about: str) -> None:
    """Follow the link of an address's newest mail of a kind."""
    origin = server.url.removesuffix("/v1")
    mails = page.request.get(f"{origin}/mail/messages.json").json()
    mail = next(mail for mail in mails if mail["to"] == email and about in mail["subject"])
    [link] = re.findall(r"https?://\S+(/account/\w+\?\S+)", mail["text"])
    answer = page.goto(origin + link)
    assert answer is not None
    assert answer.headers["content-security-policy"].startswith("default-src 'self'; ")
    expect(page.get_by_label("E-mail")).to_have_value(email)
    # The code stays neither in the address nor in the history.
    assert "code" not in page.url


def test_the_page_that_a_mail_links_to_changes_the_password(page: Page, server: Server) -> None:
    api = HttpApi(server.url)
    email = api.register().email
    page.goto(f"{server.url.removesuffix('/v1')}/account/reset")
    page.get_by_label("E-mail").fill(email)
    page.get_by_role("button", name="Send a code").click()
    expect(page.get_by_role("status")).to_contain_text("a code is on its way")
    open_link(page, server, email, "new password")
    page.get_by_label("New password").fill("a new " + PASSWORD)
    page.get_by_role("button", name="Change the password").click()
    expect(page.get_by_role("status")).to_contain_text("Your password is changed.")
    api.login(email, "a new " + PASSWORD)


def test_the_page_that_a_mail_links_to_verifies_the_address(page: Page, server: Server) -> None:
    api = HttpApi(server.url)
    device = api.register()
    open_link(page, server, device.email, "verify")
    page.get_by_role("button", name="Verify the e-mail").click()
    expect(page.get_by_role("status")).to_contain_text("Your e-mail is verified.")
    assert api.get("/users/me", token=device.token).json["emailVerified"] is True


def test_a_page_deletes_the_account_for_who_has_the_password(page: Page, server: Server) -> None:
    api = HttpApi(server.url)
    device = api.register()
    page.goto(f"{server.url.removesuffix('/v1')}/account/delete")
    page.get_by_label("E-mail").fill(device.email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Delete the account").click()
    expect(page.get_by_role("status")).to_contain_text("Your account and all its data are deleted.")
    assert_problem(api.get("/users/me", token=device.token), 401, "unauthorized")


def test_the_pages_of_an_account_say_what_is_wrong_and_where(
    browser: Browser, server: Server
) -> None:
    origin = server.url.removesuffix("/v1")
    # Chromium itself complains of every 4xx, which `page` takes for a fault.
    page = browser.new_page()
    page.goto(f"{origin}/account/reset?email=nobody@example.org&code=wrong")
    for password, said in (("short", "at least 8 characters"), (PASSWORD, "The code is wrong")):
        page.get_by_label("New password").fill(password)
        page.get_by_role("button", name="Change the password").click()
        expect(page.get_by_role("status")).to_contain_text(said)
        is_invalid = page.get_by_label("New password").get_attribute("aria-invalid")
        assert (is_invalid == "true") is (password == "short")
    page.goto(f"{origin}/account/delete?email=nobody@example.org")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Delete the account").click()
    expect(page.get_by_role("status")).to_contain_text("E-mail or password is wrong.")
    page.close()
