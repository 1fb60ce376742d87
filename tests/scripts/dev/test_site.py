"""What the hooks of mkdocs.yml make of pages. `make lint` builds the site, where every warning is an error."""

from types import SimpleNamespace

from tests.conftest import ROOT
from tests.scripts.test_pages import anchors
from xpoll.scripts.dev import site


def test_lists_and_tables_behind_a_line_of_text_get_an_empty_one() -> None:
    assert site.spaced("It says:\n- a\n- b\n  c\n- d") == "It says:\n\n- a\n- b\n  c\n- d"
    assert site.spaced("Head\n| a |\n|---|\n| 1 |") == "Head\n\n| a |\n|---|\n| 1 |"
    assert site.spaced("Text 1\n2. b") == "Text 1\n\n2. b" and site.spaced("a\nb") == "a\nb"


def test_anchors_are_those_of_a_code_host() -> None:
    page = ROOT / "docs/reference/configuration.md"
    headings = [line.lstrip("# ") for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    assert {site.slug(heading, "-") for heading in headings} == anchors(page)


def test_links_lead_to_where_a_file_stands_in_the_site() -> None:
    plugins = SimpleNamespace(_current_plugin=None)
    config = SimpleNamespace(site_dir="site", use_directory_urls=True, plugins=plugins)
    files = site.on_files(site.Files([]), config=config)
    names = {file.src_uri for file in files}
    assert {"project/README.md", "project/examples/notebooks/quickstart.ipynb"} <= names
    files.append(site.File.generated(config, "glossary.md", content=""))
    here = site.File.generated(config, "howto/student.md", content="")
    text = "[a](../glossary.md#votes) [b](../../README.md) [c](../../configs) [d](https://x.org)\n```text\n[e](../../x)\n```\n"
    led = site.on_page_markdown(text, page=SimpleNamespace(file=here), files=files)
    assert led.splitlines()[0] == "[a](../glossary.md#votes) [b](../project/README.md) c [d](https://x.org)"
    assert "[e](../../x)" in led, "what stands in a block is no link"
