"""The pictures of pages, drawn by the pages' own code: `python docs/_pictures.py [PAGE ...]`.

The figures that the blocks of a page make are, in order, `pictures/<page>_1.webp`, …;
`pictures/drawn.json` knows the code that drew them.
"""

import hashlib
import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE / "pictures"
DRAWN = FOLDER / "drawn.json"
PAGES = ("tutorial", "howto/clusters", "howto/species")


def blocks(page: str) -> list[str]:
    """The page's Python blocks in order."""
    text = (HERE / f"{page}.rst").read_text()
    found = re.findall(r"\.\. code-block:: python\n\n((?:   .*\n|\n)+)", text)
    return [re.sub(r"(?m)^   ", "", block) for block in found]


def digest(page: str) -> str:
    """What tells whether the pictures are those of this code."""
    return hashlib.sha256("\n".join(blocks(page)).encode()).hexdigest()[:16]


def draw(page: str) -> list[Path]:
    """Runs the blocks of a page and saves what they draw."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    plt.close("all")
    namespace: dict = {}
    for block in blocks(page):
        exec(compile(block, page, "exec"), namespace)
    written = []
    for k, number in enumerate(plt.get_fignums(), 1):
        path = FOLDER / f"{Path(page).name}_{k}.webp"
        plt.figure(number).savefig(path, dpi=90, bbox_inches="tight", pil_kwargs={"quality": 80})
        written.append(path)
    return written


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for page in sys.argv[1:] or PAGES:
        print(*(path.name for path in draw(page)), flush=True)
        drawn = json.loads(DRAWN.read_text()) if DRAWN.exists() else {}
        DRAWN.write_text(json.dumps(drawn | {page: digest(page)}, indent=1) + "\n")
