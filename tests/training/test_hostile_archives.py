"""Is an archive that somebody forged refused, whatever is in it, before it runs a line or fills the memory?

Every forgery here has the right hashes: it was made by someone who can write where models are kept, and name it in a ledger.
"""

import io
import json
import os
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factory_assets.declarations.definitions import definitions
from factory_assets.models import estimators, parquet_files
from factory_assets.models.archived import SAMPLE_ROWS, ModelRefused, ReleasedModel, load
from factory_assets.models.estimator_checks import attacks
from factory_assets.models.matrix import learn_encoding
from factory_assets.training.archiving import _sample
from factory_resources.archive_folder import LARGEST_PART, MANIFEST, ArchiveDamaged, ArchiveFolder, _version
from factory_resources.bounded_json import LARGEST_DECODED as LARGEST_JSON
from tests.features.lines import OF_EVENTS, declared_line

LINE = "question"
DEEP = b"[" * 200_000
#: A forgery may cost this much, whatever it says that it holds.
MOST = 30_000_000
BOMB = 400_000_000
ALLOWED = f"allowed are {parquet_files.LARGEST_DECODED}"


def whole(estimator: str) -> tuple[dict[str, Any], dict[str, bytes], dict[str, bytes]]:
    """Manifest, parts and attachments of a sound model of one number."""
    x = np.random.default_rng(1).normal(size=(200, 1))
    y = (x[:, 0] > 0).astype(float)
    params = {"num_boost_round": 2} if estimator == "lightgbm" else {}
    model = estimators.fit(estimator, x, y, task="binary", categorical=[], params=params, seed=1)
    rows = pa.table({"x": x[:5, 0], "prediction": model.predict(x[:5])})
    file = io.BytesIO()
    pq.write_table(rows, file)
    parts = model.parts() | {
        "definitions.json": json.dumps(definitions(declared_line(**OF_EVENTS))).encode(),
        "reference.parquet": file.getvalue(),
    }
    manifest = {"estimator": estimator, "encoding": learn_encoding(rows, ["x"]).to_dict(), "naive": 0.5, "profiles": {}}
    return manifest, parts, {"provenance.json": b"{}", "importances.svg": b"<svg/>"}


SOUND = {name: whole(name) for name in ("lightgbm", "logistic_regression", "constant")}


def use(archive: ArchiveFolder, version: str) -> ReleasedModel:
    """All that is ever parsed of a version."""
    model = load(archive, LINE, version)
    assert model.predict_one({"x": 1.0}) >= 0 and model.sample.num_rows == 5 and model.declared.features
    assert model.profiles == {} and model.answered == {}
    return model


@contextmanager
def refused_in_little_memory(because: str) -> Iterator[None]:
    # Not tracemalloc: it sees nothing of what Arrow takes, and ends the process where another thread is just beginning.
    Path("/proc/self/clear_refs").write_text("5")
    before = resident()["VmRSS"]
    with pytest.raises((ArchiveDamaged, ModelRefused, ValueError), match=because):
        yield
    assert resident()["VmHWM"] - before < MOST


def resident() -> dict[str, int]:
    """Bytes of memory in use now (VmRSS), and at most since the last reset (VmHWM)."""
    status = Path("/proc/self/status").read_text()
    return {name: int(size) * 1024 for name, size in re.findall(r"(VmRSS|VmHWM):\s+(\d+) kB", status)}


@pytest.fixture
def archive(tmp_path: Path) -> ArchiveFolder:
    return ArchiveFolder(str(tmp_path / "models"))


def forged(archive: ArchiveFolder, content: dict[str, Any], files: dict[str, bytes]) -> tuple[str, Path]:
    """A version whose manifest file says what it likes."""
    version = _version(content)
    folder = Path(archive.uri(LINE, version))
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (folder / MANIFEST).write_text(json.dumps(content))
    return version, folder


@pytest.mark.parametrize("estimator", SOUND)
def test_pickles_under_every_name_are_refused_and_run_nothing(
    estimator: str, archive: ArchiveFolder, tmp_path: Path
) -> None:
    manifest, parts, attachments = SOUND[estimator]
    use(archive, archive.store(LINE, manifest, parts, attachments))
    canary = tmp_path / "canary"
    for attack in attacks(canary):
        for name in parts:
            with pytest.raises((ModelRefused, ValueError)):
                use(archive, archive.store(LINE, manifest, parts | {name: attack}, attachments))
        with pytest.raises((ModelRefused, ValueError)):
            use(
                archive,
                archive.store(
                    LINE, manifest | {"more": attack.hex()}, parts, attachments | {"provenance.json": attack}
                ),
            )
        version, folder = forged(archive, {"manifest": {"a": attack.hex()}, "parts": {}}, {})
        (folder / MANIFEST).write_bytes(attack)
        with pytest.raises(ArchiveDamaged, match="cannot be read"):
            use(archive, version)
    assert not canary.exists()


def test_a_manifest_s_own_list_of_trusted_types_means_nothing(archive: ArchiveFolder) -> None:
    import skops.io
    from sklearn.tree import DecisionTreeClassifier

    manifest, parts, _ = SOUND["logistic_regression"]
    foreign = skops.io.dumps(DecisionTreeClassifier())
    trusted = ["sklearn.tree._classes.DecisionTreeClassifier", "posix.system"]
    version = archive.store(
        LINE, manifest | {"trusted": trusted}, parts | {"model.skops": foreign, "trusted.json": b"[]"}
    )
    with pytest.raises(ModelRefused, match=r"unpack|names sklearn\.tree\._classes\.DecisionTreeClassifier"):
        use(archive, version)


def zipped(files: dict[str, bytes], kind: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", kind) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def npy(shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return file.getvalue()


def laid_over_each_other() -> bytes:
    """A thousand entries that are all the same megabyte."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("schema.json", bytes(1_000_000))
        (one,) = archive.filelist
        archive.filelist += [one] * 1000
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("part", "attack", "because"),
    [
        ("model.skops", lambda: zipped({"schema.json": bytes(BOMB)}, zipfile.ZIP_DEFLATED), "would unpack to"),
        ("model.skops", laid_over_each_other, "would unpack to"),
        ("model.skops", lambda: zipped({"schema.json": b"{}", "a.npy": npy((BOMB,))}), "says it holds"),
        ("model.skops", lambda: zipped({"schema.json": DEEP}), "refused"),
        ("model.importances.json", lambda: DEEP, "cannot be read|nested"),
        ("definitions.json", lambda: DEEP, "nested too deep"),
        ("model.skops", lambda: shared_by_many(), r"would copy arrays of 401600000 bytes; allowed are 1\d{7}"),
        (
            "definitions.json",
            lambda: b"[" + b"[]," * 2_000_000 + b"1]",
            rf"definitions\.json: .* allowed are {LARGEST_JSON}",
        ),
        ("model.importances.json", lambda: b"[" + b"1," * 3_000_000 + b"1]", f"allowed are {LARGEST_JSON}"),
        ("reference.parquet", lambda: _nulls(BOMB), "says it holds 400000000 rows"),
        ("reference.parquet", lambda: parquet(_text(400_000, 1000)), rf"400000000 bytes of texts; {ALLOWED}"),
        pytest.param(
            "reference.parquet",
            lambda: parquet(_text(BOMB, 1)),
            rf"40000\d+ bytes of pages; {ALLOWED}",
            marks=pytest.mark.slow,
        ),
        ("reference.parquet", lambda: of_small_footer(parquet(_text(BOMB, 1))), rf"40000\d+ bytes of pages; {ALLOWED}"),
        (
            "reference.parquet",
            lambda: parquet(_text(9000, 1000), use_dictionary=False, column_encoding={"x": "DELTA_BYTE_ARRAY"}),
            r"reference\.parquet has a page of encoding number 7, which may repeat values",
        ),
        ("reference.parquet", lambda: parquet(pa.table({"x": [[0] * 1_000_000]})), "has the nested column x"),
        ("reference.parquet", lambda: b"PAR1" + b"\xff\xff\xff\x7fPAR1", "says its footer has 2147483647 bytes"),
    ],
    ids=[
        *("deflated", "laid over", "array", "nested schema", "nested importances", "nested definitions"),
        *("one array for many", "wide definitions", "wide importances"),
        *("rows", "one text for many rows", "page", "page whose footer says less", "prefixes", "lists", "footer"),
    ],
)
@pytest.mark.slow
def test_what_would_grow_is_refused_before_it_does(
    part: str, attack: Callable[[], bytes], because: str, archive: ArchiveFolder
) -> None:
    manifest, parts, attachments = SOUND["logistic_regression"]
    version = archive.store(LINE, manifest, parts | {part: attack()}, attachments)
    use(archive, archive.store(LINE, manifest, parts, attachments))  # imports are not the forgery's cost
    with refused_in_little_memory(because):
        use(archive, version)


def shared_by_many() -> bytes:
    """A list of a thousand arrays, each of which is the same file."""
    node = {
        "__loader__": "NdArrayNode",
        "__module__": "numpy",
        "__class__": "ndarray",
        "type": "numpy",
        "file": "a.npy",
    }
    content = [node | {"__id__": place} for place in range(1000)]
    schema = {"__loader__": "ListNode", "__module__": "builtins", "__class__": "list", "__id__": -1, "content": content}
    array = npy((50_184,)) + bytes(8 * 50_184)
    return zipped({"schema.json": json.dumps(schema).encode(), "a.npy": array})


def parquet(rows: pa.Table, **options: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(rows, file, compression="zstd", store_schema=False, **options)
    return file.getvalue()


def _text(size: int, rows: int) -> pa.Table:
    """The same text in every row, without it being in memory for each."""
    return pa.table({"x": pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(["x" * size]))})


def of_small_footer(content: bytes) -> bytes:
    """The file with a footer that says that the column unpacks to little."""
    (size,) = {pq.read_metadata(io.BytesIO(content)).row_group(0).column(0).total_uncompressed_size}
    said, less = varint(size), varint(100, like=varint(size))
    assert content.count(said) >= 1
    return content.replace(said, less)


def varint(number: int, like: bytes = b"") -> bytes:
    """A number as Thrift writes it, in as many bytes as another one takes."""
    number <<= 1
    found = bytearray()
    while number or len(found) < max(len(like), 1):
        found.append(number & 127 | 128)
        number >>= 7
    found[-1] &= 127
    return bytes(found)


def _nulls(rows: int) -> bytes:
    return parquet(pa.table({"x": pa.nulls(rows)}))


def footer_of(schema: bytes, groups: int) -> bytes:
    """A file of nothing but a footer, whose groups of rows have no columns. schema: that of the root's columns, each of 6 bytes."""

    def listed(values: bytes, length: int) -> bytes:
        return b"\xfc" + unsigned(length) + values

    columns = len(schema) // 6
    root = b"\x48\x01r\x15" + varint(columns) + b"\0"
    about = b"\x15" + varint(2) + b"\x19" + listed(root + schema, columns + 1) + b"\x16\0\x19"
    about += listed(b"\x19\x0c\x16\0\x16\0\0" * groups, groups) + b"\x28\x18parquet-cpp-arrow 26.0.1\0"
    return b"PAR1" + about + len(about).to_bytes(4, "little") + b"PAR1"


def unsigned(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


@pytest.mark.parametrize(("columns", "groups"), [(900_000, 0), (0, 900_000), (29_000, 29_000)])
def test_a_footer_that_says_little_of_many_is_refused_before_it_is_a_gigabyte(columns: int, groups: int) -> None:
    read = parquet_files.read
    assert read(footer_of(b"", 1), "sample", 10).num_rows == 0
    content = footer_of(b"\x15\0\x38\x01a\0" * columns, groups)
    with refused_in_little_memory(r"sample has no footer at byte 4: .*a list of \d+ values, which is too long"):
        read(content, "sample", 10)


def test_no_byte_of_a_footer_ends_the_process() -> None:
    rows = pa.table({"x": [0.5, None], "y": ["a", "b"]})
    file = io.BytesIO()
    pq.write_table(rows, file, store_schema=False)
    content = file.getvalue()
    outcomes = set()
    for place in range(content.rindex(b"PAR1") - 4 - int.from_bytes(content[-8:-4], "little"), len(content) - 8):
        for other in (0, 1, 2, 0x1C, 0x7F, 0xFF, content[place] ^ 1):
            try:
                parquet_files.read(content[:place] + bytes([other]) + content[place + 1 :], "sample", 10)
                outcomes.add("read")
            except (ValueError, pa.ArrowException):
                outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_a_file_of_another_writer_is_refused() -> None:
    file = io.BytesIO()
    pq.write_table(pa.table({"x": [1.0]}), file)
    content = file.getvalue().replace(b"parquet-cpp-arrow", b"parquet-mr vers17")
    with pytest.raises(
        ValueError, match=r"sample was written by 'parquet-mr vers17 version .*allowed is parquet-cpp-arrow"
    ):
        parquet_files.read(content, "sample", 10)


def test_every_parquet_file_that_pyarrow_writes_of_a_sample_is_read_as_it_was_written() -> None:
    texts = [f"v{place % 7}" for place in range(1000)]
    rows = pa.table(
        {
            "number": np.linspace(0, 1, 1000), "view.text": texts, "flag": [True, None] * 500, "none": pa.nulls(1000),
            "time": pa.array(range(1000), pa.timestamp("us", "UTC")), "few": pa.array(texts).dictionary_encode(),
        }
    )  # fmt: skip
    ways: list[dict[str, Any]] = [
        {}, {"use_dictionary": False}, {"data_page_version": "2.0"}, {"row_group_size": 90}, {"data_page_size": 50},
    ]  # fmt: skip
    for options in ways:
        file = io.BytesIO()
        pq.write_table(rows, file, **options)
        assert parquet_files.read(file.getvalue(), "reference.parquet", 1000).equals(rows)
    assert parquet_files.read(parquet(rows.slice(0, 0)), "reference.parquet", 1000).num_rows == 0


def test_a_sample_of_long_texts_keeps_as_few_rows_as_are_read_again() -> None:
    rows = pa.table({"x": ["x" * 2_000_000] * 100})
    kept = parquet_files.read(_sample(rows), "reference.parquet", SAMPLE_ROWS)
    assert 20 <= kept.num_rows < 100


@pytest.mark.parametrize(
    ("content", "found"),
    [({}, "they hold nothing"), ({"line": {}, "views": {}, "streams": {}}, "they hold line"), ([], r"they are \[\]")],
)
def test_an_archive_that_does_not_say_what_its_model_means_is_refused_when_it_is_loaded(
    content: Any, found: str, archive: ArchiveFolder
) -> None:
    manifest, parts, attachments = SOUND["constant"]
    version = archive.store(LINE, manifest, parts | {"definitions.json": json.dumps(content).encode()}, attachments)
    with pytest.raises(
        ModelRefused, match=rf"definitions\.json does not tell the model's line, views, streams: {found}"
    ):
        load(archive, LINE, version)


def test_a_tree_whose_first_split_is_its_own_child_is_refused_and_not_walked(archive: ArchiveFolder) -> None:
    manifest, parts, attachments = SOUND["lightgbm"]
    forged = re.sub(rb"left_child=\S+", b"left_child=0", parts["model.txt"], count=1)
    lengths = b" ".join(b"%d" % len(tree) for tree in re.findall(rb"Tree=.*?\n\n\n", forged, re.DOTALL))
    forged = re.sub(rb"tree_sizes=.*", b"tree_sizes=" + lengths, forged)
    version = archive.store(LINE, manifest, parts | {"model.txt": forged}, attachments)
    with pytest.raises(ModelRefused, match=r"model\.txt .* tree 0: left_child is neither a later split nor a leaf"):
        use(archive, version)


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd", "..", "a/b", MANIFEST])
def test_a_part_cannot_be_named_outside_its_folder(name: str, archive: ArchiveFolder) -> None:
    for kind in ("parts", "attachments"):
        content = {"manifest": {"kind": kind}, "parts": {}, kind: {name: {"sha256": "0" * 64, "bytes": 1}}}
        with pytest.raises(ArchiveDamaged, match="part name"):
            use(archive, forged(archive, content, {})[0])


@pytest.mark.parametrize("size", [10**13, -1, 1e400, "12", None])
def test_a_part_of_an_impossible_size_is_refused_by_its_manifest(size: object, archive: ArchiveFolder) -> None:
    content = {"manifest": {}, "parts": {"model.txt": {"sha256": "0" * 64, "bytes": size}}}
    with pytest.raises(ArchiveDamaged, match=r"manifest\.json .* cannot be read"):
        use(archive, forged(archive, content, {"model.txt": b"tree"})[0])


def test_files_larger_than_they_say_are_refused_unread(archive: ArchiveFolder) -> None:
    version = archive.store(LINE, *SOUND["constant"])
    folder = Path(archive.uri(LINE, version))
    for name in ("constant.json", MANIFEST):
        before = (folder / name).read_bytes()
        os.truncate(folder / name, LARGEST_PART)
        with refused_in_little_memory(rf"{name} .*has {LARGEST_PART} bytes"):
            use(archive, version)
        (folder / name).write_bytes(before)
    use(archive, version)


def test_a_manifest_nested_too_deep_is_refused(archive: ArchiveFolder) -> None:
    version, folder = forged(archive, {"manifest": {}, "parts": {}}, {})
    (folder / MANIFEST).write_bytes(b'{"manifest": ' + DEEP)
    with refused_in_little_memory(r"JSON nested too deep"):
        use(archive, version)


def test_links_and_pipes_are_refused_even_where_what_they_lead_to_is_sound(
    archive: ArchiveFolder, tmp_path: Path
) -> None:
    version = archive.store(LINE, *SOUND["constant"])
    file = Path(archive.uri(LINE, version)) / "constant.json"
    elsewhere = file.rename(tmp_path / "elsewhere")
    file.symlink_to(elsewhere)
    with pytest.raises(ArchiveDamaged, match=r"constant\.json .*no plain file"):
        use(archive, version)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(ArchiveDamaged, match=r"constant\.json .*no plain file"):
        use(archive, version)
    archive.store(LINE, *SOUND["constant"])
    assert file.is_file() and not file.is_symlink()
    use(archive, version)


def test_one_flipped_bit_of_any_file_is_refused(archive: ArchiveFolder) -> None:
    version = archive.store(LINE, *SOUND["logistic_regression"])
    for file in Path(archive.uri(LINE, version)).iterdir():
        data = file.read_bytes()
        for place in (0, len(data) // 2, len(data) - 1):
            file.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
            with pytest.raises(ArchiveDamaged, match=r"hash|cannot be read|is the manifest of version"):
                use(archive, version)
        file.write_bytes(data)
    use(archive, version)
