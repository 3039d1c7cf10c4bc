"""Superset behind a proxy that says who is there, as docs/configuration.md has it."""

import os

from flask import request
from flask_appbuilder.security.manager import AUTH_REMOTE_USER
from superset.security import SupersetSecurityManager

SECRET_KEY = "of one test alone, on loopback: 0123456789"
SQLALCHEMY_DATABASE_URI = "sqlite:///" + os.path.join(os.environ["SUPERSET_HOME"], "superset.db")

AUTH_TYPE = AUTH_REMOTE_USER
AUTH_REMOTE_USER_ENV_VAR = "HTTP_X_REMOTE_USER"
AUTH_USER_REGISTRATION = True
AUTH_USER_REGISTRATION_ROLE = "Gamma"

if os.environ.get("PORTCULLIS_RIG_TOLD") == "1":
    # Every page asks for it where people are registered, and there is none by itself.
    RECAPTCHA_PUBLIC_KEY = ""

    class ToldByHeader(SupersetSecurityManager):
        """Knows people by the header alone."""

        # Else Superset's own page, which asks for a password, stands before the one of AUTH_REMOTE_USER.
        register_superset_auth_view = False

        def load_user(self, pk):
            """Takes a session of Superset for nobody's where somebody else is told."""
            user = super().load_user(pk)
            told = request.environ.get(AUTH_REMOTE_USER_ENV_VAR, "")
            return user if user and user.username.lower() == told.lower() else None

    CUSTOM_SECURITY_MANAGER = ToldByHeader
