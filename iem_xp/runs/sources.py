"""From the INPUT arguments of a command to images, each with the name of its mask."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path, PurePath

from iem_xp.runs.naming import Source, long_name, mask_names, short_name


class SourceError(ValueError):
    """The INPUT arguments name no image."""


class ImageSearch:
    """Images found while iterating, which works once; see `find_images`.

    Attributes
    ----------
    left_out : Counter of str
        Files met so far in folders and patterns that are no images, counted by lower-case suffix.
    unreadable : list of OSError
        Folders met so far that could not be listed.
    """

    def __init__(self, inputs: Sequence[str], suffixes: frozenset[str], exclude: Path | None) -> None:
        self.left_out: Counter[str] = Counter()
        self.unreadable: list[OSError] = []
        self._suffixes = frozenset(suffix.lower() for suffix in suffixes)
        self._exclude = None if exclude is None else os.path.abspath(exclude)
        self._searched: set[tuple[int, int]] = set()
        self._exceptions: dict[str, dict[str, str]] = {}
        expanded = [self._expand(given) for given in inputs]
        paths = dict.fromkeys(path for paths, _ in expanded for path in paths)
        self._root = os.path.commonpath([root for _, root in expanded]) if expanded else ""
        found = self._visit(paths)
        first = next(found, None)
        if first is None:
            raise SourceError(self._nothing_found(inputs))
        self._found = chain([first], found)

    def __iter__(self) -> Iterator[Source]:
        return self._found

    def _expand(self, given: str) -> tuple[list[str], str]:
        """Paths that one argument stands for, and the folder that their mask names start from."""
        path = os.path.abspath(given)
        if self._excludes(Path(path)):
            raise SourceError(f"{given!r}: in {self._exclude}, the folder of the run; use another -o")
        if os.path.isdir(given):
            return [path], path
        if os.path.lexists(given):
            if path.lower().endswith(".txt"):
                return _read_list(given)
            return [path], os.path.dirname(path)
        if any(character in given for character in "*?["):
            return self._match(given)
        raise SourceError(f"{given!r}: no such file or folder")

    def _match(self, pattern: str) -> tuple[list[str], str]:
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
            if any(_is_hidden(part) for part in match.relative_to(root).parts) or self._excludes(match):
                continue
            if self._is_image(match.name) or match.is_dir():
                paths.append(str(match))
            else:
                self._leave_out(match.name)
        return paths, str(root)

    def _excludes(self, path: Path) -> bool:
        return self._exclude is not None and path.is_relative_to(self._exclude)

    def _visit(self, paths: Iterable[str]) -> Iterator[Source]:
        for path in paths:
            if os.path.isdir(path):
                yield from self._search(path)
            else:
                folder, name = os.path.split(path)
                known = self._is_image(name) and _identity(folder) in self._searched
                if not (known and os.path.lexists(path)):
                    yield Source(Path(path), self._below(folder) + self._mask_name(folder, name))

    def _search(self, top: str) -> Iterator[Source]:
        stack = [top]
        while stack:
            folder = stack.pop()
            identity = _identity(folder)
            # The run folder may come into being during the search, hence a look at each folder.
            if identity in self._searched or (self._exclude and identity == _identity(self._exclude)):
                continue
            try:
                images, folders, others = self._list(folder)
            except OSError as error:
                self.unreadable.append(error)
                continue
            if identity is not None:
                self._searched.add(identity)
            for name in others:
                self._leave_out(name)
            below = self._below(folder)
            for name, mask in mask_names(images, folders).items():
                yield Source(Path(folder, name), below + mask)
            stack.extend(os.path.join(folder, name) for name in reversed(folders))

    def _list(self, folder: str) -> tuple[list[str], list[str], list[str]]:
        """Names of the images, folders and other files in a folder, sorted, without the hidden ones."""
        images, folders, others = [], [], []
        with os.scandir(folder) as entries:
            for entry in entries:
                if _is_hidden(entry.name):
                    continue
                if _is_folder(entry):
                    folders.append(entry.name)
                elif self._is_image(entry.name):
                    images.append(entry.name)
                else:
                    others.append(entry.name)
        return sorted(images), sorted(folders), others

    def _is_image(self, name: str) -> bool:
        return not _is_hidden(name) and os.path.splitext(name)[1].lower() in self._suffixes

    def _leave_out(self, name: str) -> None:
        self.left_out[os.path.splitext(name)[1].lower()] += 1

    def _mask_name(self, folder: str, name: str) -> str:
        """Mask name of a file named explicitly: that which a search of its folder would give it."""
        if not self._is_image(name):
            return long_name(name)
        if folder not in self._exceptions:
            # A list may jump between folders: each is listed once, and only its few odd names are kept.
            try:
                images, folders, _ = self._list(folder)
            except OSError:
                images, folders = [], []
            names = mask_names(images, folders)
            self._exceptions[folder] = {
                image: mask for image, mask in names.items() if mask != short_name(image)
            }
        return self._exceptions[folder].get(name) or short_name(name)

    def _below(self, folder: str) -> str:
        relative = PurePath(os.path.relpath(folder, self._root)).as_posix()
        return "" if relative == "." else relative + "/"

    def _nothing_found(self, inputs: Sequence[str]) -> str:
        lines = [f"no image found in {', '.join(map(repr, inputs)) or 'no input at all'}"]
        lines.append(f"looked for {', '.join(sorted(self._suffixes))}")
        if self.left_out:
            counts = ", ".join(f"{n} x {suffix or 'no suffix'}" for suffix, n in self.left_out.most_common(5))
            lines.append(f"left out {counts}")
        lines += [f"cannot list a folder: {error}" for error in self.unreadable[:5]]
        return "; ".join(lines)


def find_images(
    inputs: Sequence[str], *, suffixes: frozenset[str], exclude: Path | None = None
) -> ImageSearch:
    """Find the images that the INPUT arguments of a command name.

    Parameters
    ----------
    inputs : sequence of str
        Each is an image file, tried whatever its suffix; a folder, searched with its sub-folders; a glob
        pattern, where ``**`` stands for any folders; or a ``.txt`` file of one path per line, relative to
        the current folder, with blank lines and lines that start with ``#`` skipped.
    suffixes : frozenset of str
        Suffixes of images, such as ``".png"``, for folders and patterns; case does not matter.
    exclude : Path, optional
        The run folder, which is not searched: its masks are no images.

    Returns
    -------
    ImageSearch
        Iterable of `Source`: arguments in the given order, each folder in sorted order.

    Raises
    ------
    SourceError
        If an argument does not exist or stands for nothing, or if there is no image at all.

    Notes
    -----
    Hidden files and folders are skipped, a folder is searched once however many links lead to it. A listed
    path that does not exist is yielded all the same: it fails when it is read, alone.

    Masks are named after their images, relative to the deepest folder that contains all inputs, with the
    suffix ``.png``. An image whose folder holds another one of that name but for the suffix keeps its
    suffix: ``a.jpg`` and ``a.png`` have the masks ``a.jpg.png`` and ``a.png.png``. What is still ambiguous
    then, or too long for a file system, gets a digest of its name.
    """
    return ImageSearch(inputs, suffixes, exclude)


def list_images(folder: Path, suffixes: frozenset[str]) -> tuple[list[Source], Counter[str]]:
    """List all images below a folder, as `find_images` finds them, and the other files, counted by suffix.

    Raises
    ------
    SourceError
        If there is no image, or if a folder cannot be listed.
    """
    search = find_images([str(folder)], suffixes=suffixes)
    found = list(search)
    if search.unreadable:
        raise SourceError(f"cannot list a folder: {search.unreadable[0]}")
    return found, search.left_out


def _read_list(file: str) -> tuple[list[str], str]:
    try:
        content = Path(file).read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise SourceError(f"{file!r}: cannot read this list: {error.strerror}") from error
    if b"\0" in content:
        raise SourceError(f"{file!r}: not a list of paths in UTF-8")
    lines = (os.fsdecode(line.removesuffix(b"\r")) for line in content.split(b"\n"))
    paths = [os.path.abspath(line) for line in lines if line.strip() and not line.startswith("#")]
    if not paths:
        raise SourceError(f"{file!r}: lists no path")
    return paths, os.path.commonpath({os.path.dirname(path) for path in paths})


def _is_hidden(name: str) -> bool:
    return name.startswith(".")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, say, which fails when it is read
        return False


def _identity(folder: str) -> tuple[int, int] | None:
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino
