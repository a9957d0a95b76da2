"""The pictures of the pages: they parse, stand on their own, can be read on light and on dark, and say in words what they show."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from pages import DOCS, pages

IMAGES = sorted((DOCS / "images").glob("*"))
SVG = "{http://www.w3.org/2000/svg}"


def luminance(colour):
    """The relative luminance of #rrggbb, as WCAG 2 defines it."""
    parts = [int(colour[n:n + 2], 16) / 255 for n in (1, 3, 5)]
    red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


def fills(css):
    return dict(re.findall(r"^\s*(text|\.\w+) \{[^}]*?fill: (#[0-9a-f]{6})", css, re.MULTILINE))


def test_there_are_pictures_and_nothing_else():
    assert IMAGES and all(path.suffix == ".svg" for path in IMAGES)


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.name)
def test_the_picture_is_whole(path):
    root = ElementTree.parse(path).getroot()
    assert root.tag == SVG + "svg" and root.get("viewBox")
    for part in ("title", "desc"):
        assert root.find(SVG + part).text.strip()
    assert {element.tag for element in root.iter()} <= {SVG + name for name in (
        "svg", "title", "desc", "style", "defs", "marker", "rect", "path", "text")}
    named = set(re.findall(r"\.(\w+) \{", root.find(SVG + "style").text))
    used = {name for element in root.iter() for name in (element.get("class") or "").split()}
    assert used <= named | {"middle", "end"}


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.name)
def test_the_picture_can_be_read_on_light_and_on_dark(path):
    css = ElementTree.parse(path).getroot().find(SVG + "style").text
    light, dark = css.split("@media (prefers-color-scheme: dark)")
    for scheme in (fills(light), fills(light) | fills(dark)):
        for writing in ("text", ".note"):
            for ground in (".paper", ".area", ".box", ".good", ".bad"):
                assert contrast(scheme[writing], scheme[ground]) >= 4.5, f"{writing} on {ground}"


def test_every_picture_is_on_a_page_with_words_beside_it():
    shown = {}
    for path in pages().values():
        for words, target in re.findall(r"!\[([^\]]*)\]\(([^)\s]+)\)", path.read_text()):
            shown[(path.parent / target).resolve()] = words
    assert set(shown) == set(IMAGES)
    assert all(shown.values())
