from __future__ import annotations

import os
from pathlib import Path

import pytest

from iem_xp.runs.inputs import SourceError
from iem_xp.runs.naming import Source
from iem_xp.runs.records import Candidate, Entry
from iem_xp.runs.selection import Selection, find_unknown, read_selected
from iem_xp.runs.store import Run


def test_a_list_has_comments_blank_lines_and_paths_from_the_current_folder(here: Path) -> None:
    content = "\ufeff# good\na.png\r\n\n  \nsub/../ü b.png\n/else/c.png\n/shards/0.tar/d.png"
    found = read_selected(content.encode(), "list")
    assert found == {f"{here}/a.png", f"{here}/ü b.png", "/else/c.png", "/shards/0.tar/d.png"}


def test_what_is_no_text_is_refused_by_its_name() -> None:
    with pytest.raises(SourceError, match=r"^good\.png: not a list of paths"):
        read_selected(b"\x89PNG\0\0", "good.png")


@pytest.mark.skipif(os.name != "posix", reason="file names are text elsewhere")
def test_a_path_may_be_no_unicode() -> None:
    assert read_selected(b"/caf\xe9.png\n", "list") == {os.fsdecode(b"/caf\xe9.png")}


def test_only_those_listed_are_taken_less_those_left_out() -> None:
    paths = [Path(f"/{name}") for name in "abc"]
    taken = {
        (): "abc",
        ("only",): "ab",
        ("omit",): "ac",
        ("only", "omit"): "a",
    }
    lists = {"only": frozenset({"/a", "/b"}), "omit": frozenset({"/b", "/x"})}
    for given, expected in taken.items():
        selection = Selection(**{name: lists[name] for name in given})
        assert "".join(path.name for path in paths if selection.objection(path) is None) == expected
    assert Selection(frozenset()).objection(paths[0]) == "not listed by --only"
    assert Selection(**lists).objection(paths[1]) == "listed by --except"


def test_selections_are_told_apart_by_what_is_in_their_lists() -> None:
    assert Selection().as_dict() == {}
    one, other = Selection(frozenset({"/a", "/b"})).as_dict(), Selection(frozenset({"/a", "/c"})).as_dict()
    assert one["only"]["count"] == 2
    assert one.keys() == {"only"} == other.keys()
    assert one != other != Selection(frozenset({"/a"})).as_dict()
    assert Selection(omit=frozenset({"/a", "/b"})).as_dict() == {"except": one["only"]}
    assert Selection(frozenset({"/a", "/b/c"})).as_dict() != Selection(frozenset({"/a/b", "/c"})).as_dict()


def test_paths_without_a_mask_are_found(tmp_path: Path) -> None:
    with Run.create(tmp_path / "run", {}) as run:
        entry = Entry(Source(Path("/a.png"), "a.png"), 4, 4, 0.0)
        run.record_done(entry, Candidate(44, None, 0.5, 1), 0.5)  # type: ignore[arg-type]
        run.record_failed(Source(Path("/b.png"), "b.png"), "damaged")
        assert list(find_unknown(run, ["/c.png", "/b.png", "/a.png"])) == ["/b.png", "/c.png"]
