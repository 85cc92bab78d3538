"""The page of a graph in Chromium: search, click, fold, zoom, drag, compare, hostile names, two thousand nodes.

    pip install '.[browser]'
    python tests/oracles/view_in_browser.py [--chromium /usr/bin/chromium] [--pictures FOLDER]

Without --chromium it takes the first chromium or chrome on the path, else the one that playwright installed.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from lamina import Input, Model, layers
from lamina.graph import trace

HOSTILE = "</script><script>window.harmed=1</script><img src=x onerror=window.harmed=1>\u2028'\"&@@DATA@@"


def network(extra: bool = False) -> Model:
    """A small network with a branch, and maybe with a layer more."""
    x = Input((8, 8, 3), name="image")
    y = layers.Conv2D(4, 3, padding="same", activation="relu", name="first")(x)
    z = layers.Conv2D(4, 3, padding="same", name="second")(y)
    y = layers.Add(name="sum")([y, z])
    if extra:
        y = layers.Activation("tanh", name="extra")(y)
    y = layers.Flatten(name="flat")(y)
    return Model(x, layers.Dense(7 if extra else 5, name="head")(y), name="branched")


class Checked:
    """A page that notes what it must not do: errors, and requests to the network."""

    def __init__(self, browser: Browser, file: Path):
        self.problems: list[str] = []
        self.page: Page = browser.new_page(viewport={"width": 1200, "height": 800})
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", self._request)
        self._file = file.as_uri()
        self.page.goto(self._file)

    def _console(self, message) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(message.text)

    def _request(self, request) -> None:
        if request.url != self._file:
            self.problems.append(f"request of {request.url}")

    def close(self) -> None:
        assert not self.page.evaluate("window.harmed"), "a name was run"
        assert not self.problems, self.problems
        self.page.close()

    def texts(self, selector: str) -> list[str]:
        return self.page.locator(selector).all_text_contents()


def check_network(browser: Browser, folder: Path, pictures: Path | None) -> None:
    file = folder / "network.html"
    trace(network()).view(file)
    checked = Checked(browser, file)
    page = checked.page
    types = checked.texts("#scene .type")
    assert "float32 (batch, 8, 8, 3)" in types and "float32 (batch, 8, 8, 4)" in types, types
    assert "float32 (3, 3, 3, 4)" in types, "constants of a small graph are drawn"
    assert page.locator("#totals").text_content().split()[1] == "instructions,"

    before = page.locator("#scene").get_attribute("transform")
    page.locator("#canvas").hover()
    page.mouse.wheel(0, -400)
    wheeled = page.locator("#scene").get_attribute("transform")
    assert wheeled != before
    page.mouse.down()
    page.mouse.move(700, 500, steps=4)
    page.mouse.up()
    dragged = page.locator("#scene").get_attribute("transform")
    assert dragged != wheeled and dragged.split("scale")[1] == wheeled.split("scale")[1]
    page.click("#fit")
    page.click("#in")
    assert page.locator("#scene").get_attribute("transform") != dragged

    page.keyboard.press("/")
    page.keyboard.type("second conv")
    assert checked.texts("#found h2") == ["1 found"]
    page.keyboard.press("Enter")
    details = page.locator("#details").text_content()
    for text in ("Conv", "dilations", "second/kernel", "operations"):
        assert text in details, (text, details)
    assert page.locator("#details .histogram rect").count() == 32
    assert page.locator("#scene .selected").count() == 1
    page.keyboard.press("Escape")
    assert page.locator("#found").is_hidden()

    page.click("#fold")
    assert page.locator("#scene [data-id^=g]").count() == 5  # the layers
    assert page.locator("#scene .Conv").count() == 0 and "float32 (batch, 8, 8, 4)" in checked.texts("#scene .type")
    page.locator("#scene .layer", has_text="second").locator("[data-fold]").click()
    assert page.locator("#scene .Conv").count() == 1
    page.locator("#scene .layer", has_text="second").locator("[data-fold]").click()
    assert page.locator("#scene .Conv").count() == 0
    page.click("#unfold")
    assert page.locator("#scene .Conv").count() == 2
    page.locator("#scene .Add .box").first.click()
    assert "Goes to" in page.locator("#details").text_content()
    page.uncheck("#constants")
    assert page.locator("#scene .Constant").count() == 0
    page.check("#constants")
    if pictures:
        page.click("#fit")
        page.screenshot(path=pictures / "network.png")
    checked.close()


def check_compared(browser: Browser, folder: Path, pictures: Path | None) -> None:
    file = folder / "compared.html"
    trace(network(extra=True)).view(file, compare=trace(network()))
    checked = Checked(browser, file)
    kinds = checked.texts("#changes .entry")
    assert any("added" in k and "Tanh" in k for k in kinds), kinds
    assert any("changed" in k and "head" in k for k in kinds), kinds
    assert checked.page.locator("#scene .Tanh.added").count() == 1
    assert checked.page.locator("#scene .MatMul.changed").count() == 1
    checked.page.locator("#changes .added", has_text="Tanh").click()
    assert checked.page.locator("#scene .Tanh.selected").count() == 1
    if pictures:
        checked.page.screenshot(path=pictures / "compared.png")
    checked.close()
    trace(network()).view(file, compare=trace(network(extra=True)))
    checked = Checked(browser, file)
    assert checked.page.locator("#scene .Tanh.removed").count() == 1
    assert checked.page.locator("#scene .edge.removed").count() >= 2
    checked.close()


def check_hostile(browser: Browser, folder: Path) -> None:
    def program(x):
        with jax.named_scope(HOSTILE.replace("/", "|")):
            return jnp.tanh(x) * np.arange(4, dtype="float32")

    file = folder / "hostile.html"
    graph = trace(program, (None, 4), input_names=[HOSTILE], output_names=[HOSTILE + "1"])
    graph.name = HOSTILE
    view = graph.view(file, compare=trace(lambda x: x * 2.0, (None, 4)))
    checked = Checked(browser, file)
    assert checked.texts("h1") == [HOSTILE]
    checked.page.fill("#search", "harmed")
    assert checked.page.locator("#found .entry").count() >= 2
    checked.page.locator("#found .entry").first.click()
    assert HOSTILE in checked.page.locator("#details").text_content()
    checked.close()

    file = folder / "frame.html"  # as a notebook shows it
    file.write_text(f"<!DOCTYPE html><meta charset=utf-8><body>{view._repr_html_()}", encoding="utf-8")
    page = browser.new_page()
    page.goto(file.as_uri())
    frame = page.frame_locator("iframe")
    assert frame.locator("#scene .Tanh").count() == 1
    assert not page.evaluate("window.harmed")
    page.close()


def check_loop(browser: Browser, folder: Path) -> None:
    file = folder / "loop.html"
    trace(lambda x: jax.lax.fori_loop(0, 5, lambda i, y: y @ np.ones((4, 4), "float32"), x), (None, 4)).view(file)
    checked = Checked(browser, file)
    checked.page.click("#unfold")
    assert checked.page.locator("#scene .MatMul").count() >= 1, "the body of a loop is drawn inside of it"
    checked.close()


def check_large(browser: Browser, folder: Path, pictures: Path | None) -> float:
    def program(x):
        for block in range(200):
            with jax.named_scope(f"stage{block // 20}/block{block}"):
                y = x
                for _ in range(9):
                    y = jnp.tanh(y) if _ % 2 else jnp.exp(-y)
                x = x + y
        return x

    file = folder / "large.html"
    graph = trace(program, (None, 4))
    assert len(graph.instrs) >= 2000, len(graph.instrs)
    started = time.perf_counter()
    graph.view(file)
    wrote = time.perf_counter() - started
    checked = Checked(browser, file)
    started = time.perf_counter()
    checked.page.click("#unfold")
    count = checked.page.locator("#scene [data-id^=n]").count()
    seconds = time.perf_counter() - started
    assert count >= 2000, count
    milliseconds = checked.page.evaluate(
        "() => { const t = performance.now(); render(); scene.getBoundingClientRect(); return performance.now() - t; }"
    )
    print(f"{count} nodes: {file.stat().st_size:,} bytes written in {wrote:.2f} s, unfolded in {seconds:.2f} s, "
          f"drawn again in {milliseconds:.0f} ms")  # fmt: skip
    if pictures:
        checked.page.screenshot(path=pictures / "large.png")
    checked.close()
    return milliseconds


def main() -> int:
    """Runs all checks; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chromium", help="the browser's program")
    parser.add_argument("--pictures", type=Path, help="a folder for screenshots")
    options = parser.parse_args()
    names = ("chromium", "chromium-browser", "google-chrome")
    program = options.chromium or next(filter(None, map(shutil.which, names)), None)
    if options.pictures:
        options.pictures.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as work:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        print(f"Chromium {browser.version}")
        folder = Path(work)
        check_network(browser, folder, options.pictures)
        check_compared(browser, folder, options.pictures)
        check_hostile(browser, folder)
        check_loop(browser, folder)
        check_large(browser, folder, options.pictures)
        browser.close()
    print("view_in_browser: all as it should be")
    return 0


if __name__ == "__main__":
    sys.exit(main())
