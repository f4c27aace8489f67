"""What a browser and a Markdown renderer make of text, and whether names in it have done any harm."""

from __future__ import annotations

import html.parser
import unicodedata
from pathlib import Path

from markdown_it import MarkdownIt

from torchbce.common.visible import MESSAGE, shown

UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # Unicode's categories of what is never a mark on the screen
# By CommonMark, with GitHub's tables and strike-through
MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def is_safe(text: str, keep: str = "") -> bool:
    return not any(unicodedata.category(c) in UNSEEN and c not in keep for c in text)


class Seen(html.parser.HTMLParser):
    """What a browser makes of a page: tags, attributes, and the texts outside of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.text, self._inside = "", ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value for name, value in attrs if name in ("href", "src", "action") and value[:1] != "#"]
        self._inside = tag

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside not in ("script", "style"):
            self.text += data


def check_page(path: Path, *said: str) -> None:
    """The names stand on it as they are shown, and made nothing else of it."""
    page = path.read_bytes().decode()
    seen = Seen(page)
    assert is_safe(page, "\n"), [c for c in page if not is_safe(c, "\n")]
    assert not {name for name in seen.attributes if name.startswith("on")}
    assert seen.links == []
    assert not {"img", "b", "i", "a", "iframe"} & set(seen.tags)
    assert seen.tags.count("script") <= 2
    for text in said:
        assert shown(text, MESSAGE).strip() in seen.text or shown(text).strip() in seen.text, text
    assert "var(--" not in seen.text  # a name that looks like a colour
