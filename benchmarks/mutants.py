"""Do the tests catch mistakes? Mutants drawn at random, and the tests of the file that they are in.

    python benchmarks/mutants.py --count 120 --seed 0

A mutant is one operator, sign, constant or condition changed, or a term dropped, in a function of
the rooms below. The tests that belong to a file are those that name what it defines, the three
that name it most and most clearly; they have `--seconds`, and what survives them is tried by the
slow ones among them. Survivors are printed as a difference, to be read.
"""

import argparse
import ast
import difflib
import math
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("measures", "_reduce", "noise", "simulation", "energies", "transport", "systems")
SWAPS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
    ast.Lt: ast.Gt, ast.Gt: ast.Lt, ast.LtE: ast.Gt, ast.GtE: ast.Lt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
# What says nothing about numbers.
SKIPPED = (ast.Raise, ast.JoinedStr, ast.Import, ast.ImportFrom)


def places(tree: ast.Module) -> list[tuple[ast.AST, str]]:
    """What can be changed in the functions of a file, and how."""
    found: list[tuple[ast.AST, str]] = []

    def visit(node: ast.AST) -> None:
        if isinstance(node, SKIPPED):
            return
        if isinstance(node, ast.BinOp) and type(node.op) in SWAPS:
            found.append((node, "operator"))
            if isinstance(node.op, ast.Add | ast.Sub):
                found.append((node, "term"))
        if isinstance(node, ast.BoolOp):
            found.append((node, "operator"))
        if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
            found.append((node, "condition"))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            found.append((node, "sign"))
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            found.append((node, "constant"))
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    visit(child)

    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            for statement in function.body:
                visit(statement)
    return list({(id(node), kind): (node, kind) for node, kind in found}.values())


def changed(tree: ast.Module, node: ast.AST, kind: str) -> str:
    """The text of a file with one place changed."""

    class Change(ast.NodeTransformer):
        def generic_visit(self, here):
            if here is not node:
                return super().generic_visit(here)
            match here, kind:
                case ast.BinOp(), "term":
                    return here.left
                case ast.BinOp() | ast.BoolOp(), _:
                    here.op = SWAPS[type(here.op)]()
                case ast.Compare(), _:
                    here.ops[0] = SWAPS[type(here.ops[0])]()
                case ast.UnaryOp(), _:
                    return here.operand
                case ast.Constant(), _:
                    here.value = here.value + 1 if isinstance(here.value, int) else here.value * 1.5
            return here

    return ast.unparse(ast.fix_missing_locations(Change().visit(tree)))


def tests_of(path: Path) -> list[Path]:
    """The three test files that name what a file defines, a rare name counting more."""
    tree = ast.parse(path.read_text())
    kinds = (ast.ClassDef, ast.FunctionDef)
    names = {n.name for n in tree.body if isinstance(n, kinds)} | {path.stem, path.stem.strip("_")}
    # What is made for one other file is tested there.
    users = [p for p in path.parent.glob("*.py") if f"from .{path.stem} import" in p.read_text()]
    names |= {p.stem.strip("_") for p in users if p.stem != "__init__"}
    texts = {p: p.read_text() for p in ROOT.glob("tests/**/test_*.py")}
    scores: Counter = Counter()
    for name in names:
        found = {p: len(re.findall(rf"\b{re.escape(name)}\b", t)) for p, t in texts.items()}
        naming = sum(map(bool, found.values()))
        for p, count in found.items():
            scores[p] += min(count, 5) * math.log(len(texts) / max(naming, 1))
    room = path.relative_to(ROOT / "flowjax_measures").parts[0].strip("_")
    for p in texts:
        scores[p] += (p.parent.name == room) + 5 * (path.stem.strip("_") in p.stem)
    near = sorted(ROOT.glob(f"tests/{room}/test_*.py"))
    return [p for p, score in scores.most_common(3) if score > 0] or near[:3]


def drawn(count: int, seed: int) -> list[tuple[Path, int, int]]:
    """Files and the numbers of places in them, each file as often as it has places."""
    draw = random.Random(seed)
    files = [p for room in ROOMS for p in sorted((ROOT / "flowjax_measures" / room).rglob("*.py"))]
    sizes = [len(places(ast.parse(p.read_text()))) for p in files]
    chosen = draw.choices(range(len(files)), sizes, k=count)
    return [(files[i], draw.randrange(sizes[i]), n) for n, i in enumerate(chosen)]


def tried(
    copy: Path, path: Path, number: int, seconds: int, which: str = "not slow"
) -> tuple[str, str]:
    """What became of a mutant, and its difference."""
    text = path.read_text()
    tree = ast.parse(text)
    before = ast.unparse(tree)
    node, kind = places(tree)[number]
    mutant = changed(tree, node, kind)
    place = copy / path.relative_to(ROOT)
    place.write_text(mutant)
    tests = [str(p.relative_to(ROOT)) for p in tests_of(path)]
    # What the change leaves alone is compiled once for all.
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(copy / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    options = ["-x", "-q", "-n", "0", "-p", "no:cacheprovider", "-m", which]
    try:
        run = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *tests], cwd=copy, capture_output=True,
            timeout=seconds, text=True, env=os.environ | cache | {"PYTHONPATH": str(copy)},
        )  # fmt: skip
        # 5: there was nothing to run. 2 and more: it could not even be imported.
        outcome = "survived" if run.returncode in (0, 5) else "caught"
    except subprocess.TimeoutExpired:
        outcome = "out of time"
    finally:
        place.write_text(text)
    lines = difflib.unified_diff(before.splitlines(), mutant.splitlines(), lineterm="", n=0)
    return outcome, "\n".join(
        line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")
    )


def main(count: int, seed: int, first: int, seconds: int) -> None:
    counts: Counter = Counter()
    with tempfile.TemporaryDirectory() as home:
        copy = Path(home)
        for name in ("flowjax_measures", "tests", "docs", "examples"):
            shutil.copytree(
                ROOT / name, copy / name, ignore=shutil.ignore_patterns("_build", "*.webp")
            )
        for name in ("pyproject.toml", "README.md", "CHANGELOG.md", "SECURITY.md"):
            shutil.copy(ROOT / name, copy / name)
        for path, number, n in drawn(count, seed)[first:]:
            outcome, difference = tried(copy, path, number, seconds)
            if outcome == "survived":
                slow, _ = tried(copy, path, number, seconds, "slow")
                outcome = "caught, slow" if slow == "caught" else outcome
            counts[outcome] += 1
            print(f"{n:3} {outcome:12} {path.relative_to(ROOT)}", flush=True)
            if not outcome.startswith("caught"):
                print("    " + difference.replace("\n", "\n    "), flush=True)
    print(dict(counts))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the number of the first mutant tried")
    parser.add_argument("--seconds", type=int, default=120)
    given = parser.parse_args()
    main(given.count, given.seed, given.first, given.seconds)
