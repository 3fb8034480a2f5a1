"""Is what comes out of the archive what went in, or else an error?"""

import json
import multiprocessing
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from factory_resources.archive_folder import MANIFEST, ArchiveDamaged, ArchiveFolder, _version

LINE = "card_fraud"
ABSENT = "0123456789abcdef"
MODEL = {"model.txt": b"tree\nversion=v4\n" * 100, "encoding.json": b'{"features": []}', "empty": b""}
ABOUT = {"as_of": "2018-07-24", "params": {"num_leaves": 31, "rate": 0.05}, "days": [1, 2], "note": None, "é": True}


@pytest.fixture(params=["local", "file_uri", "memory"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ArchiveFolder]:
    """Everything below holds on a local path and on a store without folders or renames."""
    if request.param == "memory":
        root = f"/{uuid.uuid4().hex}"
        yield ArchiveFolder(root=f"memory:/{root}")
        files = fsspec.filesystem("memory")
        if files.exists(root):
            files.rm(root, recursive=True)
    else:
        yield ArchiveFolder(root=f"{'file://' if request.param == 'file_uri' else ''}{tmp_path}/models")


def path(archive: ArchiveFolder, version: str, name: str) -> tuple[Any, str]:
    files, place = fsspec.core.url_to_fs(f"{archive.uri(LINE, version)}/{name}")
    return files, place


def change(archive: ArchiveFolder, version: str, name: str, edit: Callable[[bytes], bytes]) -> None:
    files, place = path(archive, version, name)
    files.pipe_file(place, edit(files.cat_file(place)))


def test_what_was_stored_comes_back(archive: ArchiveFolder) -> None:
    version = archive.store(LINE, ABOUT, MODEL)
    assert archive.load(LINE, version) == (ABOUT, MODEL, {})
    assert archive.exists(LINE, version)
    assert archive.uri(LINE, version) == f"{archive.root}/{LINE}/{version}"


def test_the_version_follows_from_content_alone(archive: ArchiveFolder, tmp_path: Path) -> None:
    version = archive.store(LINE, ABOUT, MODEL)
    # The id of a version is in ledgers for years: it must not change with a release of this code.
    assert version == "cb497aad1e8f86df"
    reordered = {name: MODEL[name] for name in reversed(MODEL)}
    assert (
        ArchiveFolder(root=str(tmp_path / "elsewhere")).store("another", dict(reversed(ABOUT.items())), reordered)
        == version
    )


@pytest.mark.parametrize(
    ("about", "parts"),
    [
        (ABOUT | {"as_of": "2018-07-25"}, MODEL),
        (ABOUT, MODEL | {"model.txt": MODEL["model.txt"][:-1]}),
        (ABOUT, {"renamed.txt" if name == "model.txt" else name: data for name, data in MODEL.items()}),
        (ABOUT, MODEL | {"more": b""}),
    ],
    ids=["manifest", "content", "name", "one more part"],
)
def test_anything_that_differs_is_another_version(archive: ArchiveFolder, about: Any, parts: Any) -> None:
    assert archive.store(LINE, about, parts) != archive.store(LINE, ABOUT, MODEL)


def test_storing_again_writes_nothing(tmp_path: Path) -> None:
    archive = ArchiveFolder(root=str(tmp_path))
    version = archive.store(LINE, ABOUT, MODEL)
    folder = tmp_path / LINE / version
    before = {file.name: (file.stat().st_ino, file.stat().st_mtime_ns) for file in folder.iterdir()}
    assert archive.store(LINE, ABOUT, MODEL) == version
    assert {file.name: (file.stat().st_ino, file.stat().st_mtime_ns) for file in folder.iterdir()} == before
    assert set(before) == {*MODEL, MANIFEST}


def test_the_manifest_file_tells_a_person_what_belongs_to_the_version(archive: ArchiveFolder) -> None:
    version = archive.store(LINE, ABOUT, {"a.txt": b"abc"})
    files, place = path(archive, version, MANIFEST)
    assert json.loads(files.cat_file(place)) == {
        "manifest": ABOUT,
        "parts": {
            "a.txt": {"bytes": 3, "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        },
    }


@pytest.mark.parametrize("name", ["model.txt", "encoding.json"])
def test_one_flipped_bit_in_a_part_is_found_and_the_part_named(archive: ArchiveFolder, name: str) -> None:
    version = archive.store(LINE, ABOUT, MODEL)
    change(archive, version, name, lambda data: data[:5] + bytes([data[5] ^ 1]) + data[6:])
    with pytest.raises(ArchiveDamaged, match=f"{name} .*hash"):
        archive.load(LINE, version)


@pytest.mark.parametrize("edit", [lambda data: data[:-1], lambda data: data + b"x"], ids=["cut", "extended"])
def test_a_part_of_another_length_is_found(archive: ArchiveFolder, edit: Callable[[bytes], bytes]) -> None:
    version = archive.store(LINE, ABOUT, MODEL)
    change(archive, version, "model.txt", edit)
    with pytest.raises(ArchiveDamaged, match=r"model\.txt .*1[56]\d\d bytes, stored were 1600"):
        archive.load(LINE, version)


def test_a_missing_part_is_named(archive: ArchiveFolder) -> None:
    version = archive.store(LINE, ABOUT, MODEL)
    files, place = path(archive, version, "encoding.json")
    files.rm_file(place)
    with pytest.raises(ArchiveDamaged, match=r"encoding\.json .*is missing"):
        archive.load(LINE, version)


@pytest.mark.parametrize(
    "edit",
    [
        lambda data: data.replace(b"2018-07-24", b"2018-07-25"),
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: b"[]",
        lambda data: b'{"manifest": {}, "parts": {"a": {"sha256": NaN}}}',
        lambda data: data.replace(b'"bytes"', b'"size"'),
    ],
    ids=["value", "torn", "empty", "no manifest", "no hash", "no length"],
)
def test_a_manifest_that_is_not_as_stored_is_damage(archive: ArchiveFolder, edit: Callable[[bytes], bytes]) -> None:
    version = archive.store(LINE, ABOUT, MODEL)
    change(archive, version, MANIFEST, edit)
    with pytest.raises(ArchiveDamaged, match=r"manifest\.json"):
        archive.load(LINE, version)


def test_a_version_moved_under_another_name_is_damage(tmp_path: Path) -> None:
    archive = ArchiveFolder(root=str(tmp_path))
    version = archive.store(LINE, ABOUT, MODEL)
    (tmp_path / LINE / version).rename(tmp_path / LINE / ABSENT)
    with pytest.raises(ArchiveDamaged, match=f"manifest of version {version}"):
        archive.load(LINE, ABSENT)


def test_a_forged_manifest_cannot_make_the_archive_read_outside_its_folder(tmp_path: Path) -> None:
    """Every hash of the forgery is right, the name of its part is not."""
    (tmp_path / "secret").write_bytes(b"secret")
    archive = ArchiveFolder(root=str(tmp_path / "models"))
    version = archive.store(LINE, {}, {"secret": b"secret"})
    manifest = tmp_path / "models" / LINE / version / MANIFEST
    content = json.loads(manifest.read_bytes())
    content["parts"] = {"../../../secret": content["parts"]["secret"]}
    forged = tmp_path / "models" / LINE / _version(content)
    forged.mkdir()
    (forged / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(ArchiveDamaged, match="not allowed"):
        archive.load(LINE, forged.name)


def test_files_that_the_manifest_does_not_list_are_ignored(archive: ArchiveFolder) -> None:
    version = archive.store(LINE, ABOUT, MODEL)
    files, place = path(archive, version, "left_over.pkl")
    files.pipe_file(place, b"anything")
    assert archive.load(LINE, version) == (ABOUT, MODEL, {})


def test_damage_is_mended_by_storing_the_same_model_again(archive: ArchiveFolder) -> None:
    version = archive.store(LINE, ABOUT, MODEL)
    change(archive, version, "model.txt", lambda data: data[::-1])
    files, place = path(archive, version, "encoding.json")
    files.rm_file(place)
    assert archive.store(LINE, ABOUT, MODEL) == version
    assert archive.load(LINE, version) == (ABOUT, MODEL, {})


def test_what_was_never_stored_is_not_found(archive: ArchiveFolder) -> None:
    assert not archive.exists(LINE, ABSENT)
    with pytest.raises(FileNotFoundError, match=f"{LINE}/{ABSENT}"):
        archive.load(LINE, ABSENT)


def test_a_write_without_its_manifest_is_no_archive_and_can_be_completed(archive: ArchiveFolder) -> None:
    version = archive.store(LINE, ABOUT, MODEL)
    files, place = path(archive, version, MANIFEST)
    files.rm_file(place)
    assert not archive.exists(LINE, version)
    with pytest.raises(FileNotFoundError):
        archive.load(LINE, version)
    assert archive.store(LINE, ABOUT, MODEL) == version
    assert archive.load(LINE, version) == (ABOUT, MODEL, {})


def test_a_write_that_fails_half_way_leaves_nothing_that_looks_written(tmp_path: Path) -> None:
    """The disk takes no file of this size: the manifest is the one that is too long."""
    resource = pytest.importorskip("resource", reason="limits on the size of files are POSIX")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    archive, about = ArchiveFolder(root=str(tmp_path)), {"note": "x" * 2_000_000}
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            archive.store(LINE, about, {"a.txt": b"abc"})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == []
    version = archive.store(LINE, about, {"a.txt": b"abc"})
    assert archive.load(LINE, version) == (about, {"a.txt": b"abc"}, {})


def store_many(root: str, size: int) -> None:
    for number in range(1_000_000):
        ArchiveFolder(root=root).store(
            LINE, {"number": number}, {"a.bin": bytes(size), "b.bin": bytes([number % 251]) * size}
        )


def test_a_killed_process_leaves_only_whole_versions_and_no_others(tmp_path: Path) -> None:
    root = tmp_path / "models"
    writer = multiprocessing.get_context("spawn").Process(target=store_many, args=(str(root), 2_000_000))
    writer.start()
    # The first part of the third version is there, its second is about to be written.
    while len(list(root.glob(f"{LINE}/*/*.bin"))) < 5 and writer.is_alive():
        pass
    writer.kill()
    writer.join()
    archive = ArchiveFolder(root=str(root))
    whole = [folder.name for folder in (root / LINE).iterdir() if archive.exists(LINE, folder.name)]
    assert len(whole) >= 2
    for version in whole:
        assert archive.store(LINE, *archive.load(LINE, version)) == version


@pytest.mark.parametrize(
    "name",
    ["../evil", "a/b", "/etc/passwd", "..", ".", "", ".hidden", "a\\b", "a\n", "a b", "a\0", "é", "x" * 101, MANIFEST],
)
def test_a_part_name_that_is_not_a_plain_file_name_is_refused(archive: ArchiveFolder, name: str) -> None:
    with pytest.raises(ValueError, match="part name"):
        archive.store(LINE, ABOUT, {name: b""})


@pytest.mark.parametrize("line", ["../evil", "a/b", "", "Card", "1a", "a-b", "a\n", ".."])
def test_a_line_that_is_not_a_name_is_refused_by_every_operation(archive: ArchiveFolder, line: str) -> None:
    calls = (
        lambda: archive.store(line, ABOUT, MODEL),
        lambda: archive.load(line, ABSENT),
        lambda: archive.exists(line, ABSENT),
        lambda: archive.uri(line, ABSENT),
    )
    for call in calls:
        with pytest.raises(ValueError, match="line"):
            call()


@pytest.mark.parametrize("version", ["../../evil", "", "0123", ABSENT.upper(), f"{ABSENT}\n", f"{ABSENT}0"])
def test_a_version_that_is_not_16_hex_digits_is_refused_by_every_operation(
    archive: ArchiveFolder, version: str
) -> None:
    for call in (archive.load, archive.exists, archive.uri):
        with pytest.raises(ValueError, match="version"):
            call(LINE, version)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (b"bytes", "bytes"),
        (Path("file"), "Path"),
        (np.int64(1), "int64"),
        ({1: "a"}, "dict"),
        ({"a"}, "set"),
    ],
)
def test_a_manifest_value_that_json_does_not_have_is_refused_with_its_place(
    archive: ArchiveFolder, value: Any, named: str
) -> None:
    with pytest.raises(ValueError, match=rf"manifest\.params\.depth\[1\] is .*{named}"):
        archive.store(LINE, {"params": {"depth": [0, value]}}, MODEL)
    assert not fsspec.core.url_to_fs(archive.root)[0].exists(archive.root)
