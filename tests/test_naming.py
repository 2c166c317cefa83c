from __future__ import annotations

import posixpath
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from iem_xp.runs.naming import Source, distinct, mask_names


@given(
    st.lists(
        st.tuples(st.text("aAéẞ.", min_size=1, max_size=4), st.sampled_from(["", ".png", ".jpg", ".JPG"])),
        unique=True,
    ),
    st.sets(st.sampled_from(["a.png", "A.jpg.png", "sub"])),
)
def test_masks_of_a_folder_are_distinct_even_without_case(
    parts: list[tuple[str, str]], folders: set[str]
) -> None:
    images = list(dict.fromkeys("a" + stem + suffix for stem, suffix in parts))
    names = list(mask_names(images, folders).values())
    assert len({name.casefold() for name in [*names, *folders]}) == len(names) + len(
        {name.casefold() for name in folders}
    )
    assert all(posixpath.basename(name) == name and name.endswith(".png") for name in names)


def test_a_distinct_mask_stays_in_its_folder(tmp_path: Path) -> None:
    one, two = (distinct(Source(tmp_path / name, "sub/a.png")) for name in ("a.png", "a.jpg"))
    assert one.path == tmp_path / "a.png"
    assert one.mask != two.mask
    assert posixpath.dirname(one.mask) == posixpath.dirname(two.mask) == "sub"
