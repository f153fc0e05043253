"""What parameters and members of bodies mean, each with an example, for the description of the API.

By name, since one name means one thing in all calls.
"""

from typing import Any

FIELDS: dict[str, tuple[str, Any]] = {
    # Accounts
    "email": ("The e-mail of the account, in any case.", "ann@example.com"),
    "password": ("The password, 8 to 128 characters.", "correct horse battery"),
    "currentPassword": ("The present password, which confirms it.", "correct horse battery"),
    "newPassword": ("The new password, 8 to 128 characters.", "a new horse battery"),
    "name": ("The name to show, or null.", "Ann"),
    "deviceName": ("The device's name in the list of sessions.", "Ann's phone"),
    "code": ("The code from the mail, with or without blanks, in any case.", "K7F3 Q2MX 9TBW"),
    "refreshToken": (
        "The refresh token of the last answer; without it, the one sent as Bearer token counts.",
        None,
    ),
    "provider": ("The name of a provider, from `GET /v1/auth/methods`.", None),
    "idToken": (
        "The ID token that the provider has given to the app. It confirms a change when it is ten minutes "
        "old at most, and only that of an account without a password.",
        None,
    ),
    "nonce": ("What the app gave the provider to put into the token, if it did.", None),
    # Administration
    "isActive": ("Whether the account may be used.", True),
    "role": ("`user` or `admin`.", "user"),
    "emailVerified": ("Whether the e-mail counts as the user's own.", True),
    "purpose": ("What the code is good for.", "verify"),
    "offset": ("How many accounts to skip.", 0),
    "q": ("Only accounts whose e-mail or name contains it.", "ann"),
    "userId": (
        "An account's id, from `GET /v1/users` or a space's members.",
        "6f1c1f0e-8d4c-4a57-9d0b-3f6f0f7f2a11",
    ),
    "sessionId": (
        "A session's id, from `GET /v1/auth/sessions`.",
        "6f1c1f0e-8d4c-4a57-9d0b-3f6f0f7f2a11",
    ),
    # Spaces
    "spaceId": ("A space's id, from `GET /v1/spaces`.", "0b6f8f57-5c1e-4f3a-9a53-3c0f5d0c7c11"),
    "invitationId": (
        "An invitation's id, from `GET /v1/spaces/invitations` or the space's list.",
        "5d1c9a52-90d7-4c0e-8c6b-0c6f0c0f3b7e",
    ),
    # Sync; in the query in snake_case too
    "lastPulledAt": ("`timestamp` of the last pull; none, 0 or null at first.", 0),
    "schemaVersion": ("The version of the app's schema. Accepted, and not needed.", 1),
    "migration": (
        "What WatermelonDB passes when the app's schema has grown, as JSON.",
        '{"from": 1, "tables": [], "columns": []}',
    ),
    "sendCreatedAsUpdated": ("1: send all records as `updated`.", 0),
    "limit": ("How many to send at most.", 50),
    "cursor": ("`cursor` of the page before; none for the first.", None),
    # For an app's own servers
    "space": (
        "The id of a space or, for the personal one, of a user, from `GET /v1/service/spaces`.",
        "0b6f8f57-5c1e-4f3a-9a53-3c0f5d0c7c11",
    ),
    "since": ("`timestamp` of the last reading; none or 0 at first.", 0),
    "after": ("The last id of the page before; none for the first page.", None),
    "conflicts": ("`merge`, or `reject` to apply nothing when there are any.", "merge"),
    "changes": ("What the device changed, by table.", None),
    # Loads
    "mode": ("`merge`, or `replace` to delete also what is not in the file.", "merge"),
    # A migration
    "from": ("The version of the schema at the last sync.", 1),
    "tables": ("Tables that are new since.", ["tasks"]),
    "columns": ("Columns that are new since.", None),
    "table": ("A table that has new columns.", "tasks"),
}
