"""Pages of one HTML file, which load nothing from the network."""

import base64
import hashlib
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def read_asset(package: str, name: str) -> str:
    """Return the text of a file in the folder `assets` of a package."""
    return files(package).joinpath("assets", name).read_text(encoding="utf-8")


def render_offline(
    package: str,
    template: str,
    style: str,
    script: str,
    *,
    loads_parts: bool = False,
    **values: object,
) -> str:
    """Render a page whose Content-Security-Policy allows its own style and script alone.

    Args:
        package: package with the template in its folder `assets`
        template: name of the template, which receives `policy`, `style`, `script` and the values
        style, script: texts in CSS and JavaScript
        loads_parts: whether the script may load further scripts
        values: variables of the template
    """
    dynamic = " 'strict-dynamic'" if loads_parts else ""
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'{dynamic}; "
        f"style-src '{_hash(style)}'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    # The browser compares the hashes of style and script, so they must not be escaped.
    unescaped = {"style": Markup(style), "script": Markup(script)}
    return _environment(package).get_template(template).render(policy=policy, **unescaped, **values)


@cache
def _environment(package: str) -> Environment:
    return Environment(
        loader=PackageLoader(package, "assets"), autoescape=True, undefined=StrictUndefined
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
