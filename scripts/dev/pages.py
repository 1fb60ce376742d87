"""Writes the pages of docs that are made from the code, or from committed records.

    python -m xpoll.scripts.dev.pages

tests/scripts/dev/test_pages_of_the_code.py holds them to it. To add a page: one line in PAGES.
"""

from collections.abc import Callable
from pathlib import Path

from xpoll.scripts.dev import commands_page, config_page, errors_page, metrics_page, peers_page, run_folder_page

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference"
PAGES: dict[str, Callable[[], str]] = {
    "configuration.md": config_page.page,
    "commands.md": commands_page.page,
    "metrics.md": metrics_page.page,
    "run-folder.md": run_folder_page.page,
    "errors.md": errors_page.page,
    "../peers.md": peers_page.page,
}


def main() -> None:
    """Writes each page whose text is another one now, and names it."""
    for name, page in PAGES.items():
        path, text = REFERENCE / name, page()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(path)


if __name__ == "__main__":
    main()
