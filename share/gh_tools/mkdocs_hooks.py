"""What the site does with links that leave the documents: a dead one is an error, a live one becomes plain text.

Pages link to benchmarks and examples beside the documents, which a source browser shows and the site does not hold.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

log = logging.getLogger("mkdocs.hooks.links")
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(?:#[^)]*)?\)")


def on_page_markdown(markdown: str, page, config, **_) -> str:
    """Return the page with the links out of ``docs_dir`` replaced by their texts and paths."""
    folder = Path(page.file.abs_src_path).parent
    documents = Path(config.docs_dir).resolve()
    checkout = documents.parents[2]

    def replace(match: re.Match) -> str:
        image, text, target = match.groups()
        if "://" in target or target.startswith("mailto:"):
            return match[0]
        path = (folder / target).resolve()
        if path.is_relative_to(documents):
            return match[0]
        if not path.exists():
            log.warning("%s: dead link to %s", page.file.src_path, target)
        return "" if image else f"{text} (`{path.relative_to(checkout)}`)"

    return LINK.sub(replace, markdown)
