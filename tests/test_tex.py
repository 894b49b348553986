"""Equations of the docstrings, as the site sets them."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "docs"))

import _docstrings  # noqa: E402  # pyright: ignore[reportMissingImports]
import _tex  # noqa: E402  # pyright: ignore[reportMissingImports]


@pytest.mark.parametrize(
    "typed, tex",
    [
        ("ẋ = Σ_h O_h", r"\dot{x}=\sum _{h}O_{h}"),
        ("Σ̇ = A Σ Aᵀ", r"\dot{\Sigma}=A\Sigma A^{\top}"),
        ("√(2κ⁻¹C) ξ_ij²", r"\sqrt{2\kappa ^{-1}C}\xi _{ij}^{2}"),
        ("√C(μ) dW", r"\sqrt{C(\mu )}\,dW"),
        ("∫ |x|^p dμ", r"\int |x|^{p}\,d\mu"),
        ("ρ_iρ_j e^{−β|x|²/2}", r"\rho _{i}\rho _{j}e^{-\beta |x|^{2}/2}"),
        ("I_0 + as I_1,   W₁ as γ → ∞", r"I_{0}+asI_{1},\quad W_{1}\text{ as }\gamma \to \infty"),
        ("J a compound process", r"J\text{ a compound process}"),
        ("E_data, θ̂ (Itô)", r"E_{\mathrm{data}},\hat{\theta}(\text{Itô})"),
        ("c* = argmin_u f, {x : x > 0}", r"c^{*}=\operatorname{argmin}_{u}f,\{x:x>0\}"),
    ],
)
def test_what_is_typed_is_set(typed, tex):
    assert _tex.equation(typed) == tex


def test_rows_stand_under_one_another():
    block = ["    OT = min f", "       = max g   for all x"]
    assert _tex.displayed(block)[3:-2] == [
        r"    \begin{array}{@{}l@{\quad}l@{\quad}}",
        r"    \operatorname{OT} & {}=\min f \\[6pt]",
        r"     & {}=\max g\quad \text{for all }x \\[6pt]",
        r"    \end{array}",
    ]


def test_code_and_prose_stay():
    assert _tex.displayed(["    python -m flowjax_measures quickstart"]) is None
    assert "::" in _docstrings.convert(["Text.", "", "    f = lambda x: x"])


def blocks():
    """The equations of all docstrings."""
    for path in sorted((ROOT / "flowjax_measures").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = "\n".join(_docstrings.convert((ast.get_docstring(node) or "").split("\n")))
                for block in re.findall(r"\.\. math::\n\n((?: +\S.*\n)+)", text + "\n"):
                    yield path.name, block


def test_every_equation_is_whole():
    found = list(blocks())
    assert len(found) > 300
    for name, block in found:
        bare = re.sub(r"\\[{}]", "", block)
        assert bare.count("{") == bare.count("}"), (name, block)
        # No letter is left that TeX does not know, and no script has two scripts.
        assert re.sub(r"\\text(tt)?\{[^}]*\}", "", block).isascii(), (name, block)
        assert not re.search(r"_\{\w+\}_|\^\{\w+\}\^", bare), (name, block)
