"""Follows every link of the built site: `python docs/_crawl.py docs/_build/html`.

Tells links to files or places that aren't there, and how many clicks the name that is farthest from
the landing page takes.
"""

import sys
from collections import deque
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlparse

PREFIX = "flowjax_measures."


class _Page(HTMLParser):
    """The links of a page and the places that can be linked to."""

    def __init__(self, text: str):
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = {name: value or "" for name, value in attrs}
        self.places |= {given[name] for name in ("id", "name") if name in given}
        self.links += [given[name] for name in ("href", "src") if name in given]


def crawl(site: Path) -> tuple[list[str], dict[str, int]]:
    """Broken links, as `page: link`, and the number of clicks to each public name."""
    pages = {path: _Page(path.read_text()) for path in sorted(site.rglob("*.html"))}
    broken, follow = [], {}
    for path, page in pages.items():
        follow[path] = []
        for link in page.links:
            if urlparse(link).scheme or link.startswith(("//", "data:")):
                continue
            file, place = urldefrag(link)
            target = (path.parent / unquote(urlparse(file).path)).resolve() if file else path
            known = pages.get(target)
            here = known is None or not place or unquote(place) in known.places
            if not (here and target.is_file()):
                broken.append(f"{path.relative_to(site)}: {link}")
            elif known is not None:
                follow[path].append(target)
    start = site / "index.html"
    clicks, queue = {start: 0}, deque([start])
    while queue:
        path = queue.popleft()
        for target in follow[path]:
            if target not in clicks:
                clicks[target] = clicks[path] + 1
                queue.append(target)
    names = {
        place: min(clicks[path], 99) if path in clicks else 99
        for path, page in pages.items()
        if path.parent.name == "api"
        for place in page.places
        if place.startswith(PREFIX)
    }
    return broken, names


if __name__ == "__main__":
    broken, names = crawl(Path(sys.argv[1]).resolve())
    print("\n".join(broken))
    print(f"{len(broken)} broken links; {len(names)} names within {max(names.values())} clicks")
    sys.exit(bool(broken) or max(names.values()) > 3)
