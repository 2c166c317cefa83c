"""The HTML of a report holds whatever a run says as data, and nothing else runs in it."""

from __future__ import annotations

import base64
import hashlib
import re
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from iem_xp.report.page import MARK, SCRIPTS, render
from reports import data_of

HOSTILE = [
    "<img src=x onerror=alert(1)>.png",
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "%DATA% %SCRIPT% %STYLE% %POLICY%",
    "\"quotes\" & 'more' \\ `",
    "two\nlines\r.png",
    "\u2028\u2029\0",
    "\udcff\udc80.png",
]


def test_the_page_has_the_data_back_and_only_its_own_elements(tmp_path: Path) -> None:
    rows = {"name": HOSTILE, "status": ["done"] * len(HOSTILE)}
    page = render({"rows": rows})
    (tmp_path / "index.html").write_text(page, encoding="utf-8")
    assert [row["name"] for row in data_of(tmp_path / "index.html")["rows"]] == HOSTILE
    plain = render({"rows": {"name": ["a"] * len(HOSTILE), "status": rows["status"]}})
    assert re.findall(r"<[!/a-z]", page) == re.findall(r"<[!/a-z]", plain)
    assert page.isprintable() or page.replace("\n", "").isprintable()
    assert MARK in page[:1024]


def test_the_policy_names_the_digests_of_style_and_script() -> None:
    page = render({"rows": {}})
    (policy,) = re.findall(r'Content-Security-Policy" content="(.*?)"', page)
    assert policy.startswith("default-src 'none';")
    for element, directive in (("style", "style-src"), ('script type="module"', "script-src")):
        (text,) = re.findall(f"<{element}>(.*?)</{element.partition(' ')[0]}>", page, re.S)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy


def test_the_page_names_nothing_outside_itself() -> None:
    page = render({"rows": {}})
    assert set(re.findall(r"https?://[^\"'` )]+", page)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\b(innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval|fetch)\b", page)


def test_values_that_json_lacks_are_an_error() -> None:
    with pytest.raises(ValueError, match="JSON"):
        render({"rows": {"error": [float("nan")]}})


def test_a_wheel_has_the_assets(tmp_path: Path) -> None:
    (wheel,) = WheelBuilder(str(Path(__file__).parents[1])).build(directory=str(tmp_path))
    names = zipfile.ZipFile(wheel).namelist()
    assert {f"iem_xp/report/assets/{name}" for name in ("page.html", "style.css", *SCRIPTS)} <= set(names)
