r"""Equations of docstrings as TeX: what is typed as text, Σ_i w_i |x − y|², is set on the site.

`displayed` turns an indented block into a display. Two spaces and more are a gap; what begins under
one another in two rows, or is an = there, is a column.
"""

import re
import unicodedata
from collections import Counter

_LETTERS = "α β γ δ ε ζ η θ ι κ λ μ ν ξ π ρ σ τ φ χ ψ ω Γ Δ Θ Λ Ξ Π Σ Φ Ψ Ω"
_NAMED = (
    "alpha beta gamma delta varepsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau"
    " varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega"
)
SIGNS = {a: rf"\{b} " for a, b in zip(_LETTERS.split(), _NAMED.split(), strict=True)} | {
    "−": "-", "–": "-", "·": r"\cdot ", "≤": r"\le ", "≥": r"\ge ", "∞": r"\infty ",
    "∇": r"\nabla ", "∂": r"\partial ", "∫": r"\int ", "∬": r"\iint ", "⟨": r"\langle ",
    "⟩": r"\rangle ", "‖": r"\|", "½": r"\tfrac12 ", "¼": r"\tfrac14 ", "ℓ": r"\ell ", "′": "'",
    "″": "''", "…": r"\dots ", "→": r"\to ", "←": r"\leftarrow ", "∈": r"\in ", "∋": r"\ni ",
    "∗": "*", "⊗": r"\otimes ", "⊙": r"\odot ", "×": r"\times ", "∘": r"\circ ", "±": r"\pm ",
    "∝": r"\propto ", "∥": r"\parallel ", "†": r"^\dagger ", "˙": r"^{\cdot}", "~": r"\sim ",
    "𝒲": r"\mathcal W", "#": r"\#", "%": r"\%", "{": r"\{", "}": r"\}",
}  # fmt: skip
RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ᵀ", [*"0123456789+-", r"\top "], strict=True))
LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋", "0123456789+-", strict=True))
ACCENTS = {"\u0307": r"\dot", "\u0308": r"\ddot", "\u0302": r"\hat", "\u0304": r"\bar"}
FUNCTIONS = {"log", "exp", "det", "cos", "sin", "tanh", "min", "max", "lim", "arcsin", "arccos"}
NAMES = {
    "argmin", "argmax", "tr", "diag", "div", "cov", "Cov", "Var", "softmax", "push", "Re", "act",
    "conv", "eps", "bias", "noise", "KL", "MMD", "SW", "OT", "GW", "HK", "MLP", "read", "Acc",
}  # fmt: skip
# Words of two letters; others are products.
PROSE = {"is", "of", "at", "or", "on", "to", "in", "by", "up", "it", "as", "if", "no", "an", "so"}
_MARK = f"[{''.join(ACCENTS)}]"
_SMALL = "".join([*RAISED, *LOWERED])
_LETTER = rf"[^\W\d_{_SMALL}]{_MARK}?"
TOKEN = re.compile(
    rf"(?P<gap>\s+)|(?P<quoted>\"[^\"]+\"|`[^`]+`)|(?P<accent>\w{_MARK})|(?P<script>[_^](?=\S))"
    rf"|(?P<root>√)|(?P<raised>[{''.join(RAISED)}]+)|(?P<lowered>[{''.join(LOWERED)}]+)"
    rf"|(?P<text>[A-Za-z]{{3,}}(?:[-–_][A-Za-z]{{2,}})+|[A-Za-z]{{3,}}{_MARK})"
    rf"|(?P<word>[A-Za-z]+(?!{_MARK}))|(?P<number>\d+)|(?P<sign>.)"
)
# Latin letters in a row are one index; what follows them in another alphabet is a factor.
_INDEX = rf"(?:\w{_MARK}|[a-z\d]+|{_LETTER})"
SCRIPT = re.compile(rf"{_INDEX}|[+−∗*#∥]")
RADICAND = re.compile(rf"\d+|{_LETTER}(?:_{_INDEX})?[{_SMALL}]*\(?")
# What tells an equation from a sentence or from code.
_EQUATION = re.compile(r"[=←≤≥∝∫∬∇Σ∂√⟨‖^²]|(?<![a-z])\w_\w")
_SOURCE = re.compile(r"\s*\(?\[([a-z]+\d{4}[a-z]?)\]\)?")


def _closing(text: str, start: int) -> int:
    """Where the bracket at `start` ends."""
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] in "({") - (text[i] in ")}")
        if depth == 0:
            return i
    raise ValueError(f"a bracket is open in {text!r}")


def _word(word: str, before: str, after: str) -> str | None:
    """A function, a name, or letters that stand for themselves; None is prose."""
    if word in FUNCTIONS:
        return rf"\{word} "
    if word in NAMES:
        return rf"\operatorname{{{word}}}"
    if word in PROSE and before[-1:] in ("", " ") and before.rstrip()[-1:] not in [*"+−=/·"]:
        return None
    if word == "a" and re.match(r" (?!max|min|exp)[a-z]{3}", after):
        return None
    if len(word) < 3 or word.isupper():
        # A differential stands apart from what it follows.
        whole = len(word) == 2 or (word == "d" and after[:1] in SIGNS)
        return rf"\,{word}" if whole and word[0] == "d" and before[-1:] == " " else word
    return None


def equation(text: str) -> str:
    """One piece of an equation as TeX."""
    text = unicodedata.normalize("NFD", text)
    parts: list[str] = []
    prose: list[str] = []
    position = 0

    def put(part: str) -> None:
        if prose:
            words = unicodedata.normalize("NFC", "".join(prose))
            parts.append(rf"\text{{{words}}}")
            prose.clear()
        parts.append(part)

    def argument(pattern: re.Pattern) -> str:
        """What a script or a root takes along."""
        nonlocal position
        if text[position] in "({":
            end = _closing(text, position)
            inner, position = text[position + 1 : end], end + 1
            return equation(inner)
        match = pattern.match(text, position)
        end = match.end() if match else position + 1
        if match and match[0].endswith("("):
            end = _closing(text, end - 1) + 1
        inner, position = text[position:end], end
        return _script(inner) if pattern is SCRIPT else equation(inner)

    while position < len(text):
        match = TOKEN.match(text, position)
        kind, token = match.lastgroup, match[0]
        before, position = text[:position], match.end()
        if kind == "gap":
            if len(token) > 1:
                put(r"\quad ")
            elif prose:
                prose.append(" ")
        elif kind == "quoted":
            put(rf"\texttt{{{token.strip('`')}}}")
        elif kind == "accent":
            put(rf"{ACCENTS[token[1]]}{{{SIGNS.get(token[0], token[0]).strip()}}}")
        elif kind == "script":
            put(f"{token}{{{argument(SCRIPT)}}}")
        elif kind == "root":
            put(rf"\sqrt{{{argument(RADICAND)}}}")
        elif kind == "raised":
            put("^{" + "".join(RAISED[c] for c in token).strip() + "}")
        elif kind == "lowered":
            put("_{" + "".join(LOWERED[c] for c in token) + "}")
        elif kind in ("word", "text"):
            found = None if kind == "text" else _word(token, before, text[position:])
            if found is None:
                prose.append(token if prose else " " * bool(re.search(r"\S $", before)) + token)
            else:
                put(found)
        elif token == "*" and before[-1:].strip():
            put("^{*}")
        elif token in "Σ Π" and text[position : position + 1] == "_" and _runs(text, position + 1):
            put(r"\sum " if token == "Σ" else r"\prod ")
        else:
            put(SIGNS.get(token, token))
    put("")
    return "".join(parts).strip()


def _runs(text: str, start: int) -> bool:
    """Whether a subscript is an index of summation, and not the name of a covariance."""
    return text[start : start + 1] in "ijklmnhagbe{"


def _script(inner: str) -> str:
    return rf"\mathrm{{{inner}}}" if re.fullmatch("[a-z]{4,}", inner) else equation(inner)


def _cuts(row: str, columns: list[int]) -> list[int]:
    """The columns that a row begins; through others it runs on."""
    return [c for c in columns if c == 0 or row[c - 2 : c] == "  " or row[c - 1 : c + 1] == " ="]


def _columns(rows: list[str]) -> list[int]:
    """Where columns begin: what rows start alike after a gap, and an = that a row begins with."""
    starts = [{m.end() for m in re.finditer(r"\s{2,}", row)} for row in rows]
    count = Counter(s for found in starts for s in found)
    runs = Counter(s for row in rows for s in count if s < len(row) and s not in _cuts(row, [s]))
    leading = {len(row) - len(row.lstrip()) for row in rows if row.lstrip()[:1] == "="}
    return sorted({s for s, n in count.items() if n > 1 + bool(runs[s])} | leading | {0})


def _cell(piece: str, column: int) -> str:
    style = r"\displaystyle " if r"\int" in piece or r"\sum" in piece else ""
    return style + ("{}" if column and piece[:1] in ("=", "-") else "") + piece


def displayed(lines: list[str]) -> list[str] | None:
    """A block as the lines of a display in TeX, with its sources; None where it is no equation."""
    text = "\n".join(lines)
    sources = _SOURCE.findall(text)
    bare = re.sub(r"[_^]\{[^}]*\}|[_^]\w+|\"[^\"]+\"|`[^`]+`", "", text)
    words = set(re.findall(r"[A-Za-z]{3,}", bare)) - FUNCTIONS - NAMES
    plain = [word for word in words if not word.isupper()]
    if "lambda" in text or not _EQUATION.search(text) or len(plain) > 9 * len(lines):
        return None
    rows = [_SOURCE.sub("", line).rstrip() for line in lines if line.strip()]
    least = min(len(row) - len(row.lstrip()) for row in rows)
    rows = [row[least:] for row in rows]
    columns = _columns(rows)
    cells = []
    for row in rows:
        cuts = [c for c in _cuts(row, columns) if c < len(row)]
        pieces = dict.fromkeys(columns, "")
        for start, end in zip(cuts, [*cuts[1:], None], strict=True):
            pieces[start] = equation(row[start:end].strip())
        cells.append([_cell(piece, column) for column, piece in pieces.items()])
    if len(rows) == 1:
        display = cells[0]
    else:
        shape = "@{}" + "l@{\\quad}" * len(columns)
        body = [" & ".join(c) + r" \\[6pt]" for c in cells]
        display = [rf"\begin{{array}}{{{shape}}}", *body, r"\end{array}"]
    cited = ["", f":cite:p:`{','.join(dict.fromkeys(sources))}`"] if sources else []
    return ["", ".. math::", "", *[f"    {line}" for line in display], "", *cited, ""]
