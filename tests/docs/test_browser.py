"""The pages in a real browser: Chromium without a window. Skipped where Chromium or selenium is missing.

On Debian: apt install chromium chromium-driver.
"""

from __future__ import annotations

import shutil

import pytest

from tests.docs.conftest import LANGUAGES

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="Chromium and its chromedriver are not both installed")

PHONE = {"width": 420, "height": 900, "deviceScaleFactor": 1, "mobile": False}
# What is wrong with a page once MathJax has done its work: TeX that it refused, formulas that it left, TeX outside of formulas,
# a text that is wider than the window.
LOOK = r"""
const done = arguments[0];
MathJax.startup.promise.then(() => {
  const told = (name, found) => found.map(text => `${name}: ${text.slice(0, 100)}`);
  const refused = [...document.querySelectorAll("mjx-merror, [data-mjx-error]")].map(node => node.textContent);
  const left = [...document.querySelectorAll(".math")].filter(node => !node.querySelector("mjx-container"));
  const texts = document.createTreeWalker(document.querySelector("article"), NodeFilter.SHOW_TEXT), raw = [];
  while (texts.nextNode()) {
    const node = texts.currentNode, isCode = node.parentElement.closest("pre, code, mjx-container");
    if (!isCode && /\$|\\[(\[]|\\[a-z]{2}/.test(node.data)) raw.push(node.data);
  }
  const {scrollWidth, clientWidth} = document.querySelector(".content");        // the theme lets it scroll, not the page
  const wide = scrollWidth > clientWidth ? [`${scrollWidth} wide where ${clientWidth} are shown`] : [];
  done([...told("refused", refused), ...told("not rendered", left.map(node => node.textContent)),
        ...told("TeX in the text", raw), ...wide]);
});
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
                 f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_script_timeout(60)
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    yield driver
    driver.quit()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_formula_is_shown_and_no_page_is_wider_than_a_phone(built, browser, language):
    pages = [name for name, page in built.pages(language).items() if 'class="math' in page]
    assert len(pages) > 25
    wrong = {}
    for name in pages:
        browser.get((built.folder / language / f"{name}.html").as_uri())
        if problems := browser.execute_async_script(LOOK):
            wrong[name] = problems
    assert not wrong
