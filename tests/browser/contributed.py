"""What a person does in marimo and in a terminal, wherever they run."""

from __future__ import annotations

from playwright.sync_api import Page, expect

SHOWN = """() => {
    const lines = window.wetty_term.buffer.active;
    return Array.from({length: lines.length}, (_, at) => lines.getLine(at).translateToString(true));
}"""
"""What stands in the terminal, line by line."""
_WITHIN = 180_000
"""Milliseconds, on a machine that has other things to do."""


def compute_in_marimo(page: Page, address: str) -> None:
    """Write a cell that writes a file, run it and see what it says."""
    page.goto(f"{address}?file=__new__", wait_until="commit", timeout=_WITHIN)
    cell = page.locator(".cm-content").first
    cell.click(timeout=_WITHIN)
    page.keyboard.type(
        "import pathlib\n"
        "print('the answer is', 6 * 7, file=open(pathlib.Path.home() / 'marimo.txt', 'w'))\n"
        "pathlib.Path.home()"
    )
    page.keyboard.press("Control+Enter")
    expect(page.locator(".output-area").first).to_contain_text("home/ada", timeout=_WITHIN)


def type_in_terminal(page: Page, address: str) -> None:
    """Type a command that writes a file, and read in the terminal what it wrote."""
    page.goto(address, wait_until="commit", timeout=_WITHIN)
    page.wait_for_function(
        f"() => window.wetty_term && ({SHOWN})().some((line) => line !== '')", timeout=_WITHIN
    )
    page.keyboard.type("pwd > typed.txt; echo $((6 * 7)) >> typed.txt; cat typed.txt\n")
    page.wait_for_function(f"() => ({SHOWN})().includes('42')", timeout=_WITHIN)
    assert any(line.endswith("home/ada") for line in page.evaluate(SHOWN))
