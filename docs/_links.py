"""Sphinx extension: every public name, in text or in code, is a link to its page.

In text it is what stands in double backticks, ``fm.simulate(...)`` or ``Particles``; in blocks of
code it is `fm.` or a room of it with a name, and in examples of docstrings the name alone.
"""

import re

from docutils import nodes

PACKAGE = "flowjax_measures"
# How code and text call the rooms whose functions are called through them.
ROOMS = ("initial", "objectives", "plot", "checkpoint", "kernels", "spaces", "energies", "metrics")
NAME = re.compile(rf"(?:(?:fm|{PACKAGE})\.)?((?:(?:{'|'.join(ROOMS)})\.)?\w+)(?:\.\w+)?(?:\(.*\))?")
_N, _DOT = r'<span class="n">{}</span>', r'<span class="o">\.</span>'
_PATH = rf"(?:{_DOT}<span class=\"n\">(\w+)</span>)"
DOTTED = re.compile(rf'(<span class="n">(?:fm|{"|".join(ROOMS)})</span>){_PATH}{_PATH}?')
ALONE = re.compile(r'(?<!<span class="o">\.</span>)<span class="n">([A-Z]\w+)</span>')
BLOCK = re.compile(r'<div class="highlight"><pre>.*?</pre></div>', re.DOTALL)


def targets(app) -> dict[str, tuple[str, str]]:
    """Page and anchor of every public name, without the package's."""
    objects = app.env.domaindata["py"]["objects"]
    return {
        full.removeprefix(PACKAGE + "."): (entry.docname, entry.node_id)
        for full, entry in objects.items()
        if full.startswith(PACKAGE + ".") and entry.objtype in ("class", "function", "data")
    }


def found(name: str, known: dict) -> tuple[str, str] | None:
    """The target of a name, that may be called through its room."""
    return known.get(name) or known.get(name.split(".")[-1])


def link_text(app, doctree, docname: str) -> None:
    """Names between backticks, but for those that a page is about."""
    known = targets(app)
    for node in list(doctree.findall(nodes.literal)):
        if any(isinstance(p, nodes.reference | nodes.title) for p in _parents(node)):
            continue
        match = NAME.fullmatch(node.astext())
        target = match and found(match[1], known)
        if not target or target[0] == docname:
            continue
        uri = app.builder.get_relative_uri(docname, target[0]) + "#" + target[1]
        link = nodes.reference("", "", internal=True, refuri=uri, classes=["name"])
        node.replace_self(link)
        link += node


def _parents(node):
    while node.parent is not None:
        node = node.parent
        yield node


def link_code(app, pagename: str, templatename: str, context: dict, doctree) -> None:
    """Names in the blocks of code of a page."""
    if "body" not in context or pagename.startswith("_modules"):
        return
    known = targets(app)

    def anchor(name: str, html: str) -> str:
        target = found(name, known)
        if target is None or target[0] == pagename:
            return html
        uri = app.builder.get_relative_uri(pagename, target[0]) + "#" + target[1]
        return f'<a class="name" href="{uri}">{html}</a>'

    def dotted(match: re.Match) -> str:
        first = re.sub("<.*?>", "", match[1])
        names = [n for n in (first, match[2], match[3]) if n and n != "fm"]
        path = ".".join(names[:2]) if names[0] in ROOMS else names[0]
        return anchor(path, match[0]) if path in known or first == "fm" else match[0]

    def block(match: re.Match) -> str:
        html = DOTTED.sub(dotted, match[0])
        # What is within a link already is no name alone.
        parts = re.split(r"(<a .*?</a>)", html)
        parts[::2] = [ALONE.sub(lambda m: anchor(m[1], m[0]), part) for part in parts[::2]]
        return "".join(parts)

    context["body"] = BLOCK.sub(block, context["body"])


def setup(app):
    app.connect("doctree-resolved", link_text)
    app.connect("html-page-context", link_code)
    return {"version": "1", "parallel_read_safe": True}
