"use strict";

// What /account/reset, /account/verify and /account/delete do: each has one form with the name of the page.

const field = (name) => document.getElementById(name);

const SENTENCES = {
  account_disabled: "This account is disabled.",
  email_not_verified: "Verify the e-mail first, with the code that was sent to it.",
  email_taken: "Another account has this e-mail by now.",
  invalid: "This does not look right.",
  invalid_code: "The code is wrong or has expired. Ask for a new one.",
  invalid_credentials: "E-mail or password is wrong.",
  last_admin: "This is the last administrator. Make somebody else an administrator first.",
  mail_not_configured: "This server sends no mail.",
  rate_limited: "Too many tries. Wait a moment and try again.",
  required: "Something is missing.",
  too_common: "This password is one of the most common. Choose another.",
  too_long: "That is too long.",
  too_many_attempts: "Too many wrong passwords. Try again later.",
  too_short: "The password is too short: at least 8 characters.",
};

// Make a call; answer what it brought and, when it failed, what to say. Marks the fields concerned.
async function call(method, path, body, token) {
  try {
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    const answer = await fetch(path, { method, headers, body: JSON.stringify(body) });
    const found = await answer.json().catch(() => ({}));
    if (answer.ok) return { found };
    const faults = Object.entries(found.errorCodes ?? {});
    for (const [name] of faults) field(name)?.setAttribute("aria-invalid", "true");
    const word = faults[0]?.[1][0] ?? found.code;
    return { wrong: SENTENCES[word] ?? found.detail ?? "The server cannot answer. Try again later." };
  } catch {
    return { wrong: "The server cannot be reached. Try again." };
  }
}

const post = (path, body) => call("POST", path, body);

async function deleteAccount({ email, password }) {
  const { found, wrong } = await post("/v1/auth/login", { email, password });
  if (wrong) return { wrong };
  const deleted = await call("DELETE", "/v1/users/me", { password }, found.accessToken);
  // No session stays behind of an account that stays.
  if (deleted.wrong) await call("POST", "/v1/auth/logout", {}, found.accessToken);
  return deleted;
}

// Each form: what it does with its fields, and what to say when that is done.
const FORMS = {
  reset: [(values) => post("/v1/auth/password/reset", values), "Your password is changed. Log in with it in the app."],
  verify: [(values) => post("/v1/auth/email/verify", values), "Your e-mail is verified."],
  delete: [deleteAccount, "Your account and all its data are deleted."],
  forgot: [
    () => post("/v1/auth/password/forgot", { email: field("email").value }),
    "If there is an account with this e-mail, a code is on its way.",
  ],
};

function say(text) {
  field("said").textContent = text;
  field("said").focus();
}

for (const form of document.forms) {
  const [work, done] = FORMS[form.id];
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    for (const input of document.querySelectorAll("input")) input.removeAttribute("aria-invalid");
    const button = form.querySelector("button");
    button.disabled = true;
    const { wrong } = await work(Object.fromEntries(new FormData(form)));
    button.disabled = false;
    if (!wrong && form.id !== "forgot") for (const one of document.forms) one.hidden = true;
    say(wrong ?? done);
  });
}

const given = new URLSearchParams(location.search);
for (const name of ["email", "code"]) {
  if (field(name)) field(name).value = given.get(name) ?? "";
}
// The code stays neither in the address nor in the history.
history.replaceState(null, "", location.pathname);
