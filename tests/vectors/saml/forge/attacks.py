"""Responses that must be refused, each with its class."""

from . import documents, profile, sealed, signatures, wrapping


def add_all():
    for family in (wrapping, signatures, documents, profile, sealed):
        family.add_all()
