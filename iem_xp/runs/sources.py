"""From paths to images, each with the name of its mask: folders and archives are searched."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path, PurePath

from iem_xp.archives.base import Archive, ArchiveError
from iem_xp.archives.opening import OPEN, Member, find_member, is_archive, open_archive
from iem_xp.runs.kinds import count_kind
from iem_xp.runs.naming import Source, long_name, mask_names, short_name
from iem_xp.runs.results import FILE


class ImageSearch:
    """Images found while iterating, which works once.

    Parameters
    ----------
    paths : iterable of str
        Absolute paths of images, which are tried whatever their suffixes; of folders and archives.
    root : str
        The folder that the names of masks start from; for paths outside of it, they start
        from the root of the file system.
    suffixes : frozenset of str
        Lower-case suffixes of the images in folders and archives.
    exclude : str, optional
        A folder that is not searched, nor what is below it.

    Attributes
    ----------
    left_out : Counter of str
        Files met so far in folders and archives that are no images, counted by suffix as `count_kind` does.
    unreadable : list of str
        Folders and archives met so far that could not be searched, or not all of them, and why.
    runs : list of str
        Folders of runs met so far, whose masks are no images.
    loose : int
        Images found so far that are in no archive.
    """

    def __init__(
        self, paths: Iterable[str], root: str, suffixes: frozenset[str], exclude: str | None = None
    ) -> None:
        self.left_out: Counter[str] = Counter()
        self.unreadable: list[str] = []
        self.runs: list[str] = []
        self.loose = 0
        self._root = root
        self._suffixes = suffixes
        self._exclude = exclude
        self._searched: set[tuple[int, int]] = set()
        self._exceptions: dict[str, dict[str, str]] = {}
        self._found = self._visit(paths)

    def __iter__(self) -> Iterator[Source]:
        return (Source(Path(path), mask) for path, mask in self._found)

    def count(self, limit: int | None = None) -> int:
        """Count the images that are left, or the first so many; they have been iterated over then."""
        return sum(1 for _ in islice(self._found, limit))

    def is_empty(self) -> bool:
        """Whether there is no image: looks for the first one."""
        first = next(self._found, None)
        if first is None:
            return True
        self._found = chain([first], self._found)
        return False

    # Images are paths, as text, and names of masks: a `Path` for each takes as long as all the rest.

    def _visit(self, paths: Iterable[str]) -> Iterator[tuple[str, str]]:
        for path in paths:
            folder, name = os.path.split(path)
            if os.path.isdir(path):
                yield from self._search(path)
            elif is_archive(name) and os.path.isfile(path):
                yield from self._look_into(path)
            elif not (self._is_image(name) and _identity(folder) in self._searched and os.path.lexists(path)):
                member = find_member(path)
                self.loose += member is None
                yield path, self._member_mask(member) if member else self._file_mask(folder, name)

    def _search(self, top: str) -> Iterator[tuple[str, str]]:
        stack = [top]
        while stack:
            folder = stack.pop()
            identity = _identity(folder)
            # The run folder may come into being during the search, hence a look at each folder.
            if identity in self._searched or (self._exclude and identity == _identity(self._exclude)):
                continue
            if folder != top and os.path.isfile(os.path.join(folder, FILE)):
                self.runs.append(folder)
                continue
            try:
                images, folders, archives, others = self._list(folder)
            except OSError as error:
                self.unreadable.append(_unsearched(folder, error))
                continue
            if identity is not None:
                self._searched.add(identity)
            for name in others:
                self._leave_out(name)
            below = self._below(folder)
            for name, mask in mask_names(images, [*folders, *archives]).items():
                self.loose += 1
                yield os.path.join(folder, name), below + mask
            for name in archives:
                yield from self._look_into(os.path.join(folder, name))
            stack.extend(os.path.join(folder, name) for name in reversed(folders))

    def _list(self, folder: str) -> tuple[list[str], list[str], list[str], list[str]]:
        """Names of a folder's images, folders, archives and other files, sorted, without the hidden ones."""
        images, folders, archives, others = [], [], [], []
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_hidden(entry.name):
                    continue
                if _is_folder(entry):
                    folders.append(entry.name)
                elif self._is_image(entry.name):
                    images.append(entry.name)
                elif is_archive(entry.name):
                    archives.append(entry.name)
                else:
                    others.append(entry.name)
        return sorted(images), sorted(folders), sorted(archives), others

    def _look_into(self, path: str) -> Iterator[tuple[str, str]]:
        identity = _identity(path)
        if identity in self._searched:
            return
        try:
            archive = open_archive(Path(path))
            below = self._below(path)
            for name, mask in self._members(archive):
                yield f"{path}/{name}", below + mask
        except ArchiveError as error:
            self.unreadable.append(_unsearched(path, error))
            return
        except OSError as error:
            self.unreadable.append(_unsearched(path, error))
            return
        if archive.damage:
            self.unreadable.append(f"{path}: {archive.damage}")
        if identity is not None:
            self._searched.add(identity)

    def _members(self, archive: Archive) -> Iterable[tuple[str, str]]:
        """Names of the images in an archive, in its order, with those of their masks."""
        if not archive.has_suffixes:
            return ((name, long_name(name)) for name in archive.names())
        found, left_out = _images_in(archive, self._suffixes)
        for suffix, number in left_out.items():
            count_kind(self.left_out, suffix, number)
        return found.items()

    def _is_image(self, name: str) -> bool:
        return is_image(name, self._suffixes)

    def _leave_out(self, name: str) -> None:
        count_kind(self.left_out, _suffix(name))

    def _member_mask(self, member: Member) -> str:
        """Mask of a member named explicitly: that which a search of its archive would give it."""
        folder, slash, name = member.name.rpartition("/")
        mask = None
        # What cannot be read fails when it is taken.
        with suppress(ArchiveError, OSError):
            archive = open_archive(member.archive)
            if archive.has_suffixes:
                mask = _images_in(archive, self._suffixes)[0].get(member.name)
        return self._below(str(member.archive)) + (mask or folder + slash + long_name(name))

    def _file_mask(self, folder: str, name: str) -> str:
        """Mask of a file named explicitly: that which a search of its folder would give it."""
        below = self._below(folder)
        if not self._is_image(name):
            return below + long_name(name)
        if folder not in self._exceptions:
            # A list may jump between folders: each is listed once, and only its few odd names are kept.
            try:
                images, folders, archives, _ = self._list(folder)
            except OSError:
                images, folders, archives = [], [], []
            names = mask_names(images, [*folders, *archives])
            self._exceptions[folder] = {
                image: mask for image, mask in names.items() if mask != short_name(image)
            }
        return below + (self._exceptions[folder].get(name) or short_name(name))

    def _below(self, folder: str) -> str:
        relative = PurePath(os.path.relpath(folder, self._root))
        if os.pardir in relative.parts:
            relative = PurePath(*PurePath(folder).parts[1:])
        return "" if relative == PurePath() else relative.as_posix() + "/"


@lru_cache(maxsize=OPEN)  # an archive is searched twice, to count its images and to take them
def _images_in(archive: Archive, suffixes: frozenset[str]) -> tuple[dict[str, str], Counter[str]]:
    """Names of masks by those of images, in their order, and the number of other files by suffix."""
    folders: defaultdict[str, list[str]] = defaultdict(list)
    others: Counter[str] = Counter()
    for name in archive.names():
        folder, _, last = name.rpartition("/")
        if any(map(is_hidden, name.split("/"))):
            continue
        if is_image(last, suffixes):
            folders[folder].append(last)
        else:
            count_kind(others, _suffix(last))
    inside: defaultdict[str, set[str]] = defaultdict(set)
    for folder in folders:
        while folder:
            folder, _, last = folder.rpartition("/")
            inside[folder].add(last)
    masks = {}
    for folder, images in folders.items():
        below = f"{folder}/" if folder else ""
        for name, mask in mask_names(images, inside[folder]).items():
            masks[below + name] = below + mask
    return {name: masks[name] for name in archive.names() if name in masks}, others


def is_image(name: str, suffixes: frozenset[str]) -> bool:
    """Whether a file's name is that of an image, and not hidden."""
    return not is_hidden(name) and _suffix(name) in suffixes


def is_hidden(name: str) -> bool:
    """Whether a file, or a folder, is hidden by its name."""
    return name.startswith(".")


def _unsearched(path: str, error: ArchiveError | OSError) -> str:
    cause = error.strerror if isinstance(error, OSError) else error
    return f"{path}: cannot be searched: {cause}"


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, say, which fails when it is read
        return False


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
