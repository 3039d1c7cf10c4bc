"""Judges a bill of materials by CycloneDX's own schema: silent where it keeps it, else what is wrong."""

import pathlib
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(pathlib.Path(sys.argv[1]).read_text())
if fault:
    sys.exit(str(fault))
