"""Canaille (PyPI): an identity provider that also pushes its people over SCIM. Run with the Python of its own venv.

    rig.py setup  FOLDER PORT APP SCIM      makes the provider: alice and bob of `staff`, a client, a push token
    rig.py serve  FOLDER PORT               serves it at http://127.0.0.1:PORT until standard input ends
    rig.py do     FOLDER COMMAND…           one command of canaille's own command line; its SCIM pushes are done before it returns
    rig.py unlock FOLDER NAME               what the command line cannot say: clears the lock date

APP is the app's public URL (redirect URIs hang below it), SCIM the base URL that pushes go to. Sign in as alice with
`pw-of-alice-9`. The client is `app` / `app-secret`; pushes carry `Bearer scim-push-token`.
"""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

CALLBACK = "/.portcullis/callback/canaille"
LOGGED_OUT = "/.portcullis/logged-out"


def main(act, folder, *rest):
    folder = Path(folder).resolve()
    os.environ["CANAILLE_CONFIG"] = str(folder / "config.toml")
    {"setup": setup, "serve": serve, "do": do, "unlock": unlock}[act](folder, *rest)


def setup(folder, port, app, scim):
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config.toml"
    config.write_text(settings(folder, port, key()))
    do(folder, "install")
    # Nobody is pushed yet: the first client that takes SCIM comes after the people, and its own creation pushes nothing.
    for name, given in (("alice", "Alice"), ("bob", "Bob")):
        do(folder, "create", "user", "--user-name", name, "--password", f"pw-of-{name}-9", "--emails",
           f"{name}@example.com", "--given-name", given, "--family-name", "Able", "--quiet")
    do(folder, "create", "group", "--display-name", "staff", "--members", "alice", "--members", "bob", "--quiet")
    do(folder, "create", "client", "--client-id", "app", "--client-secret", "app-secret", "--client-name", "app",
       "--client-uri", scim, "--redirect-uris", app + CALLBACK, "--post-logout-redirect-uris", app + LOGGED_OUT,
       "--grant-types", "authorization_code", "--grant-types", "refresh_token", "--response-types", "code",
       "--scope", "openid profile email groups", "--token-endpoint-auth-method", "client_secret_basic",
       # Said, or the longest hash its key can do is taken: RS512, which is on nobody's list.
       "--id-token-signed-response-alg", "RS256", "--quiet")
    # Without an audience of its own the ID token has `aud: []`.
    do(folder, "set", "client", "app", "--audience", "app", "--quiet")
    do(folder, "create", "token", "--token-id", "scim", "--access-token", "scim-push-token", "--client", "app",
       "--audience", "app", "--scope", "openid profile", "--type", "access_token",
       "--issue-date", "2026-01-01T00:00:00+00:00", "--lifetime", "999999999", "--quiet")


def settings(folder, port, jwk):
    inline = ", ".join(f"{name} = {json.dumps(value)}" for name, value in jwk.items())
    return f"""SECRET_KEY = "rig"
SERVER_NAME = "127.0.0.1:{port}"
PREFERRED_URL_SCHEME = "http"
[CANAILLE]
DATABASE = "sql"
[CANAILLE_SQL]
DATABASE_URI = "sqlite:///{folder}/canaille.sqlite"
[CANAILLE_OIDC]
ACTIVE_JWKS = [{{ {inline} }}]
[CANAILLE_SCIM]
ENABLE_CLIENT = true
"""


def key():
    from joserfc.jwk import RSAKey
    return RSAKey.generate_key(2048, auto_kid=True, private=True).as_dict(private=True)


def do(_folder, *command):
    from canaille.commands import cli
    cli.main(list(command), prog_name="canaille", standalone_mode=False)


def unlock(_folder, name):
    from canaille import create_app
    app = create_app()
    with app.app_context(), app.backend.session():
        from canaille.app import models
        person = app.backend.instance.get(models.User, user_name=name)
        person.lock_date = None
        app.backend.instance.save(person)


def serve(folder, port):
    program = Path(sys.executable).with_name("canaille")
    child = subprocess.Popen([program, "run", "--bind", f"127.0.0.1:{port}"], stdin=subprocess.DEVNULL,
                             start_new_session=True)
    threading.Thread(target=lambda: (sys.stdin.read(), end(child)), daemon=True).start()
    sys.exit(child.wait())


def end(child):
    os.killpg(child.pid, 15)                    # it has children of its own
    try:
        child.wait(5)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, 9)


main(*sys.argv[1:])
