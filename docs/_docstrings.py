"""Sphinx extension: docstrings in the project's plain Markdown become reStructuredText.

The dialect: `code`, $mathematics$, **bold**, lists, fenced or indented blocks, `!!! note` with an
indented text, `>>>` examples, and sources by key, [jko1998], which must be in `references.bib`. An
indented block is an equation where it reads as one. All else is text: a `|`, a `*` or a trailing
`_` is itself.
"""

import re

import _tex

TOKENS = re.compile(
    r"``(?P<code2>.+?)``|`(?P<code>[^`]+)`|\*\*(?P<bold>.+?)\*\*|\$(?P<math>[^$]+)\$"
    r"|\[(?P<source>[a-z]+\d{4}[a-z]?(?:, ?[a-z]+\d{4}[a-z]?)*)\]",
    re.DOTALL,
)
# What signatures are shown with, in place of what their names stand for.
NAMES = {
    r"""(?:Float|Real)\[Array, (?:''|"")\] \| float \| int""": "float",
    r"~?(?:jax\.)?Array \| ~?(?:numpy\.)?ndarray \| ~?(?:numpy\.)?bool \| ~?(?:numpy\.)?number"
    r" \| bool \| int \| float \| complex(?: \| ~?(?:[a-z._]*)TypedNdArray)?": "ArrayLike",
    r"~?(?:typing\.)?Annotated\[~?(?:typing\.)?Any, 'key'\]": "PRNGKey",
    r"~?(?:typing\.)?Annotated\[(int|~?(?:jaxtyping\.)?float|ArrayLike), '[a-z ]+'\]": r"\1",
}
SPECIAL = re.compile(r"([\\*|`])|(?<=\w)(_)(?!\w)|(?<!\w)(_)(?=\w)")


def _text(text: str) -> str:
    return SPECIAL.sub(lambda match: "\\" + match[0], text)


def _role(match: re.Match) -> str:
    kind, body = match.lastgroup, " ".join(match[match.lastgroup].split())
    if kind == "bold":
        return f"**{body}**"
    if kind == "math":
        return f":math:`{body}`"
    if kind == "source":
        return f":cite:p:`{body.replace(' ', '')}`"
    return f"``{body}``"


def inline(paragraph: str) -> str:
    """The marks within one paragraph."""
    parts, end = [], 0
    for match in TOKENS.finditer(paragraph):
        parts.append(_text(paragraph[end : match.start()]))
        # Roles need a boundary on either side; a backslash and a space are one that isn't seen.
        before = "\\ " if match.start() and paragraph[match.start() - 1].isalnum() else ""
        after = "\\ " if paragraph[match.end() : match.end() + 1].isalnum() else ""
        parts.append(before + _role(match) + after)
        end = match.end()
    parts.append(_text(paragraph[end:]))
    return "".join(parts)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def convert(lines: list[str]) -> list[str]:
    """A docstring, line by line, as reStructuredText."""
    result: list[str] = []
    base = 0  # The indentation of the text that surrounds a block.
    position = 0
    while position < len(lines):
        line = lines[position]
        stripped = line.strip()
        start = position
        if not stripped:
            result.append("")
            position += 1
        elif stripped.startswith("```"):
            pad = line[: _indent(line)]
            position += 1
            while position < len(lines) and lines[position].strip() != "```":
                position += 1
            body = lines[start + 1 : position]
            language = stripped[3:].strip() or "text"
            result += ["", f"{pad}.. code-block:: {language}", ""]
            result += ["    " + text for text in body]
            result.append("")
            position += 1
        elif stripped.startswith("$$"):
            pad = line[: _indent(line)]
            position += 1
            if stripped.count("$$") < 2:
                while position < len(lines) and not lines[position].rstrip().endswith("$$"):
                    position += 1
                position += 1
            body = "\n".join(lines[start:position]).strip().strip("$")
            result += ["", f"{pad}.. math::", ""]
            result += [f"{pad}    {text.strip()}" for text in body.strip().splitlines()]
            result.append("")
        elif stripped.startswith("!!!"):
            depth = _indent(line) + 4
            position = start + 1
            while position < len(lines) and (
                not lines[position].strip() or _indent(lines[position]) >= depth
            ):
                position += 1
            kind, _, title = stripped[3:].strip().partition(" ")
            pad = line[: _indent(line)]
            body = convert([text[depth:] for text in lines[start + 1 : position]])
            title = inline(title.strip('" ') or kind.capitalize())
            result += ["", f"{pad}.. admonition:: {title}", f"{pad}    :class: {kind}", ""]
            result += [f"{pad}    {text}" if text else "" for text in body]
            result.append("")
        elif stripped.startswith(">>>"):
            while position < len(lines) and lines[position].strip():
                position += 1
            result += ["", *lines[start:position], ""]
        elif _indent(line) >= base + 4 and (not result or not result[-1]):
            while position < len(lines) and (
                not lines[position].strip() or _indent(lines[position]) >= base + 4
            ):
                position += 1
            block = lines[start:position]
            found = _tex.displayed(block)
            if found is None:
                result += [" " * base + "::", "", *block, ""]
            else:
                result += [" " * base + text if text else "" for text in found]
        else:
            # A paragraph, or one item of a list with the lines that continue it.
            item = re.match(r"\s*(?:[-*] |\d+\. )", line)
            base = item.end() if item else _indent(line)
            position += 1
            while position < len(lines) and lines[position].strip():
                if re.match(r"\s*(?:[-*] |\d+\. |```|\$\$|>>>|!!!)", lines[position]):
                    break
                position += 1
            head = item[0].replace("*", "-") if item else line[: _indent(line)]
            body = lines[start:position]
            body[0] = body[0][len(head) :]
            converted = inline("\n".join(text.strip() for text in body)).split("\n")
            if item and result and result[-1] and not _follows_item(result):
                result.append("")
            result.append(head + converted[0])
            result += [" " * base + text for text in converted[1:]]
            if item is None:
                base = _indent(line)
    return result


def _follows_item(result: list[str]) -> bool:
    """Does the last paragraph belong to a list?"""
    for line in reversed(result):
        if not line:
            return False
        if re.match(r"\s*(?:- |\d+\. )", line):
            return True
    return False


def _process(app, what, name, obj, options, lines):
    lines[:] = convert(list(lines))


def _shorten(app, what, name, obj, options, signature, returns):
    """Types by the names under which they are imported; a number of any kind is a float."""

    def short(text):
        text = text and text.replace("jaxlib._jax.", "")
        for long, name in NAMES.items():
            text = text and re.sub(long, name, text)
        return text

    return short(signature), short(returns)


def setup(app):
    app.connect("autodoc-process-docstring", _process)
    app.connect("autodoc-process-signature", _shorten)
    return {"version": "1", "parallel_read_safe": True}
