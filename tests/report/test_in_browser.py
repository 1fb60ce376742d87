"""The page as headless Chromium lays it out; skipped where there is none."""

import html
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.benchmarks.runner.test_page import document
from tests.support.example_run import make_run
from xpoll.benchmarks.runner.page import write_suite_page
from xpoll.report.page import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless",
    "--no-sandbox",  # its sandbox refuses to start as root, which CI often is
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
]
LONG = {"doc-002": "w" * 3000, "doc-003": "<script>document.title = 'obeyed'</script>"}
# An iframe has the width it is given, whatever window the browser can open, and its page keeps its own policy.
MEASURE = """<!DOCTYPE html><title>measure</title>
<iframe style="border:0" width="{width}" height="900" srcdoc="{page}"></iframe>
<pre id="result"></pre><script>
onload = () => {{
  const page = document.querySelector("iframe").contentDocument, root = page.documentElement;
  page.querySelectorAll("details").forEach((d) => d.open = true);
  const wide = [...page.querySelectorAll("body *")].filter((e) => !e.closest(".scroll, pre, .unseen"))
    .filter((e) => e.getBoundingClientRect().right > root.clientWidth + 1).map((e) => e.tagName);
  document.getElementById("result").textContent = [root.scrollWidth, root.clientWidth, page.title, wide].join("|");
}};
</script>"""


def browse(tmp_path: Path, page: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    if CHROMIUM is None:
        pytest.skip("no chromium on the PATH; apt-get install chromium")
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", *arguments, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


TITLES = {"report": "investor_sentiment: xpoll report", "suite": "quick: xpoll bench"}


@pytest.fixture(scope="module", params=TITLES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def report(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    if kind == "suite":
        return write_suite_page(document(), folder / "quick.html")
    return write_report(make_run(folder, "report.sample_rows=240", texts=LONG))


@pytest.mark.parametrize("width", [400, 1400])
def test_nothing_is_wider_than_the_page(tmp_path: Path, kind: str, report: Path, width: int) -> None:
    measuring = tmp_path / "measure.html"
    measuring.write_text(MEASURE.format(width=width, page=html.escape(report.read_text(encoding="utf-8"))))
    done = browse(tmp_path, measuring, "--window-size=1500,1000", "--dump-dom")
    found = re.search(r'<pre id="result">(.*?)</pre>', done.stdout)
    assert found, done.stdout[-500:]
    scroll_width, client_width, title, wide = found[1].split("|")
    assert (scroll_width, client_width, wide) == (str(width), str(width), "")
    assert title == TITLES[kind], "a text of the documents was run as a script"


@pytest.mark.parametrize("width", [400, 1400])
def test_the_page_is_drawn_without_a_word_on_the_console(tmp_path: Path, report: Path, width: int) -> None:
    picture = tmp_path / f"report-{width}.png"
    done = browse(tmp_path, report, f"--window-size={width},2400", f"--screenshot={picture}")
    assert "CONSOLE" not in done.stderr, done.stderr
    assert picture.stat().st_size > 30_000, f"{picture} is all but empty"
