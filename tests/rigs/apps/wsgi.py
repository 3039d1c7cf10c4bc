"""Two applications for gunicorn, which decodes a path once: `routed` asks Werkzeug's router, `legacy` decodes again."""
import posixpath
from urllib.parse import unquote

from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

SECRET, OPEN = "the secret of the admins\n", "an open page\n"
RULES = Map([Rule("/admin/<path:rest>", endpoint=SECRET), Rule("/", endpoint=OPEN), Rule("/<path:rest>", endpoint=OPEN)])


@Request.application
def routed(request):
    try:
        said, _ = RULES.bind_to_environ(request.environ).match()
    except HTTPException as other:
        return other
    return Response(said)


@Request.application
def legacy(request):
    path = posixpath.normpath(unquote(request.environ["PATH_INFO"]).replace("\\", "/")).lower()
    return Response(SECRET if path.startswith(("/admin/", "//admin/")) else OPEN)
