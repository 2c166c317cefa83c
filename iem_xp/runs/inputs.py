"""From the INPUT arguments of a command to the images that they stand for."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path, PurePath
from typing import BinaryIO, NamedTuple

from iem_xp.archives import lmdb
from iem_xp.archives.opening import find_archive, find_member, is_archive
from iem_xp.runs.kinds import count_kind, describe_kinds
from iem_xp.runs.naming import Source
from iem_xp.runs.sources import ImageSearch, is_hidden, is_image

_BLOCK = 1 << 16
_LONGEST_PATH = 1 << 16


class SourceError(ValueError):
    """The INPUT arguments name no image."""


class _Expanded(NamedTuple):
    """Paths that one argument stands for, and the folder that the names of masks start from."""

    paths: list[str]
    root: str


def find_images(
    inputs: Sequence[str], *, suffixes: frozenset[str], exclude: Path | None = None
) -> ImageSearch:
    """Find the images that the INPUT arguments of a command name.

    Parameters
    ----------
    inputs : sequence of str
        Each is an image file, tried whatever its suffix; a folder, searched with its sub-folders; an archive
        (tar, Parquet, or the folder of an LMDB); a glob pattern, where ``**`` stands for any folders; or a
        ``.txt`` file of one path per line, relative to the current folder, with blank lines and lines that
        start with ``#`` skipped.
    suffixes : frozenset of str
        Suffixes of images, such as ``".png"``, for folders, patterns and archives; case does not matter.
    exclude : Path, optional
        The run folder, which is not searched: its masks are no images.

    Returns
    -------
    ImageSearch
        Iterable of `Source`: arguments in the given order, each folder in sorted order, archives in theirs.

    Raises
    ------
    SourceError
        If an argument does not exist or stands for nothing, or if there is no image at all.

    Notes
    -----
    Hidden files and folders are skipped, and folders of other runs, a folder is searched once however many
    links lead to it, and so is an archive. A listed path that does not exist is yielded all the same: it
    fails when it is read, alone.

    An image in an archive has the path of the archive, followed by its name there.

    Masks are named after their images, relative to the deepest folder that contains all inputs, with the
    suffix ``.png``. An image whose folder holds another one of that name but for the suffix keeps its suffix:
    ``a.jpg`` and ``a.png`` have the masks ``a.jpg.png`` and ``a.png.png``. What is still ambiguous then, or
    too long for a file system, gets a digest of its name.
    """
    left_out: Counter[str] = Counter()
    suffixes = frozenset(suffix.lower() for suffix in suffixes)
    excluded = None if exclude is None else os.path.abspath(exclude)
    expanded = []
    for given in inputs:
        if _is_below(os.path.abspath(given), excluded):
            raise SourceError(f"{given!r}: in {excluded}, the folder of the run; use another -o")
        expanded.append(_expand(given, suffixes, excluded, left_out))
    paths = dict.fromkeys(path for paths, _ in expanded for path in paths)
    root = os.path.commonpath([root for _, root in expanded]) if expanded else ""
    search = ImageSearch(paths, root, suffixes, excluded)
    search.left_out.update(left_out)
    if search.is_empty():
        raise SourceError(_nothing_found(search, inputs, suffixes))
    return search


def stream_images(
    file: BinaryIO, *, suffixes: frozenset[str], exclude: Path | None = None, ending: bytes = b"\n"
) -> ImageSearch:
    r"""Find the images that a file lists, which may be endless: it is read as its images are asked for.

    Parameters
    ----------
    file : binary file
        Paths of images, folders and archives, relative to the current folder, with empty ones skipped.
    suffixes, exclude
        As for `find_images`.
    ending : bytes
        What ends each path: a line feed, before which a carriage return does not count, or ``b"\0"``.

    Returns
    -------
    ImageSearch
        Iterable of `Source`. Masks are named as by `find_images`, relative to the current folder or, outside
        of it, to the root of the file system. It raises a SourceError where what is listed is no path.
    """
    paths = (os.path.abspath(os.fsdecode(path)) for path in _split(file, ending))
    suffixes = frozenset(suffix.lower() for suffix in suffixes)
    return ImageSearch(paths, os.getcwd(), suffixes, None if exclude is None else os.path.abspath(exclude))


def list_images(folder: Path, suffixes: frozenset[str]) -> tuple[list[Source], Counter[str]]:
    """List all images below a folder, as `find_images` finds them, and the other files, counted by suffix.

    Raises
    ------
    SourceError
        If there is no image, or if a folder or archive cannot be searched.
    """
    search = find_images([str(folder)], suffixes=suffixes)
    found = list(search)
    if search.unreadable:
        raise SourceError(search.unreadable[0])
    return found, search.left_out


def listed_paths(content: bytes, name: str) -> list[str]:
    """Absolute paths of a list in UTF-8, one per line, relative to the current folder.

    Blank lines and lines that start with ``#`` are skipped.

    Raises
    ------
    SourceError
        If it is no text; the message starts with `name`.
    """
    if b"\0" in content:
        raise SourceError(f"{name}: not a list of paths in UTF-8")
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    texts = (os.fsdecode(line.removesuffix(b"\r")) for line in lines)
    return [os.path.abspath(text) for text in texts if text.strip() and not text.startswith("#")]


def _expand(given: str, suffixes: frozenset[str], exclude: str | None, left_out: Counter[str]) -> _Expanded:
    path = os.path.abspath(given)
    if os.path.isdir(given):
        database = os.path.join(path, lmdb.FILE)
        return _Expanded([database if os.path.isfile(database) else path], path)
    if os.path.lexists(given):
        if path.lower().endswith(".txt"):
            return _read_list(given)
        return _Expanded([path], os.path.dirname(path))
    if member := find_member(path):
        return _Expanded([path], str(member.archive.parent))
    if any(character in given for character in "*?["):
        return _match(given, suffixes, exclude, left_out)
    raise SourceError(f"{given!r}: no such file or folder")


def _match(pattern: str, suffixes: frozenset[str], exclude: str | None, left_out: Counter[str]) -> _Expanded:
    base, parts = "", list(PurePath(os.path.normpath(pattern)).parts)
    # As for a whole argument, what exists literally is no pattern: a folder may be named "[2020]".
    while parts and os.path.lexists(os.path.join(base, parts[0])):
        base = os.path.join(base, parts.pop(0))
    root = Path(os.path.abspath(base))
    try:
        matches = sorted(root.glob(os.path.join("", *parts)))
    except (ValueError, NotImplementedError) as error:
        raise SourceError(f"{pattern!r}: not a valid pattern: {error}") from error
    if not matches:
        raise SourceError(f"{pattern!r}: no file matches this pattern")
    paths = []
    for match in matches:
        if any(map(is_hidden, match.relative_to(root).parts)) or _is_below(str(match), exclude):
            continue
        if is_image(match.name, suffixes) or is_archive(match) or match.is_dir():
            paths.append(str(match))
        else:
            count_kind(left_out, match.suffix.lower())
    return _Expanded(paths, str(root))


def _read_list(file: str) -> _Expanded:
    try:
        paths = listed_paths(Path(file).read_bytes(), repr(file))
    except OSError as error:
        raise SourceError(f"{file!r}: cannot read this list: {error.strerror}") from error
    if not paths:
        raise SourceError(f"{file!r}: lists no path")
    folders = {os.path.dirname(path) for path in paths}
    archives = {folder: find_archive(folder) for folder in folders}
    roots = {folder if archive is None else os.path.dirname(archive) for folder, archive in archives.items()}
    return _Expanded(paths, os.path.commonpath(roots))


def _split(file: BinaryIO, ending: bytes) -> Iterator[bytes]:
    """Iterate over what a file holds between endings, as soon as it is there."""

    def check(path: bytes, number: int) -> bytes:
        if ending == b"\n":
            if b"\0" in path:
                raise SourceError(f"line {number} of the list has a NUL; if paths end with NUL, use -0")
            path = path.removesuffix(b"\r")
        if len(path) > _LONGEST_PATH:
            raise SourceError(f"path {number} of the list is longer than any, of more than 64 KiB")
        return path

    number, rest = 1, b""
    while block := file.read1(_BLOCK):  # type: ignore[attr-defined]
        *complete, rest = (rest + block).split(ending)
        yield from filter(None, map(check, complete, count(number)))
        number += len(complete)
        check(rest, number)  # before it grows
    yield from filter(None, [check(rest, number)])


def _is_below(path: str, folder: str | None) -> bool:
    return folder is not None and Path(path).is_relative_to(folder)


def _nothing_found(search: ImageSearch, inputs: Sequence[str], suffixes: frozenset[str]) -> str:
    lines = [f"no image found in {', '.join(map(repr, inputs)) or 'no input at all'}"]
    lines += search.unreadable[:5]
    lines += [f"{folder}: is a run, not searched" for folder in search.runs[:5]]
    if search.left_out:
        lines.append(f"left out {describe_kinds(search.left_out)}")
    lines.append(f"looked for {', '.join(sorted(suffixes))}")
    return "; ".join(lines)
