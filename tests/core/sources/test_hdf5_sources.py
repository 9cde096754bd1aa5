"""What holds for every source that reads HDF5: links, other files, chunks that were never written, open writers."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from hdf5_cases import CASES, copied

import rlbuffers
from rlbuffers.errors import CorruptDataError, FormatError
from rlbuffers.local_inputs import followed_links
from rlbuffers.sources.d4rl.hdf5 import D4RLSource


@pytest.fixture(params=CASES)
def case(request, tmp_path):
    """A case whose file is a copy of its own, in a folder of its own."""
    return copied(CASES[request.param], tmp_path / "given")


@pytest.fixture
def content(new_path):
    """A function from a case to its columns and metadata, as converted."""

    def read(case):
        output = new_path("memory")
        rlbuffers.convert(case.source(case.file), output)
        with rlbuffers.open(output) as buffer:
            return {name: buffer[:][name] for name in buffer.spec.columns}, buffer.metadata

    return read


def assert_same(found, expected):
    """Every column that was there is there, with the same rows; the place that was linked to may be another one."""
    for name, rows in expected[0].items():
        np.testing.assert_array_equal(found[0][name], rows, err_msg=name)


def moved(case, name, link, place="zz_elsewhere"):
    """Move an array to another place, in the file or in another one, and leave a link."""
    with h5py.File(case.file, "r+") as file:
        group = file[name].parent
        last = name.rpartition("/")[2]
        if link == "external":
            with h5py.File(case.file.parent / "other.h5", "w") as other:
                file.copy(name, other, "x")
            del file[name]
            group[last] = h5py.ExternalLink("other.h5", "/x")
            return
        file.move(name, place)
        group[last] = h5py.SoftLink(f"/{place}") if link == "soft" else file[place]


@pytest.mark.parametrize("link", ["hard", "soft"])
@pytest.mark.parametrize("which", ["needed", "flag"])
def test_a_column_may_be_a_link(case, content, link, which):
    expected = content(case)
    for place in ("AA_first", "zz_last"):  # the other name comes before or after the column's own
        moved(case, getattr(case, which), link, place)
        with h5py.File(case.file) as file:
            assert isinstance(file.get(getattr(case, which), getlink=True), h5py.SoftLink) == (link == "soft")
        assert_same(content(case), expected)
        with h5py.File(case.file, "r+") as file:
            del file[getattr(case, which)]
            file.move(place, getattr(case, which))


def test_a_link_that_leads_nowhere_or_in_circles_ends(case, content):
    expected = content(case)
    with h5py.File(case.file, "r+") as file:
        group = file[case.needed].parent
        group["zz_nowhere"] = h5py.SoftLink("/not/there")
        group["zz_circle"] = h5py.SoftLink(group.name)
        group["zz_self"] = h5py.SoftLink(f"{group.name}/zz_self")
    assert_same(content(case), expected)


def external(case):
    moved(case, case.needed, "external")
    return "external link to 'other.h5'"


def virtual(case):
    with h5py.File(case.file, "r+") as file:
        array = file[case.needed]
        with h5py.File(case.file.parent / "other.h5", "w") as other:
            other["x"] = array[()]
        layout = h5py.VirtualLayout(array.shape, array.dtype)
        layout[...] = h5py.VirtualSource(str(case.file.parent / "other.h5"), "x", array.shape)
        attributes = dict(array.attrs)
        del file[case.needed]
        file.create_virtual_dataset(case.needed, layout).attrs.update(attributes)
    return r"virtual dataset of '.*other\.h5'"


def stored_outside(case):
    with h5py.File(case.file, "r+") as file:
        rows, attributes = file[case.needed][()], dict(file[case.needed].attrs)
        del file[case.needed]
        place = case.file.parent / "other.h5"
        place.write_bytes(rows.tobytes())
        made = file.create_dataset(case.needed, rows.shape, rows.dtype, external=[(str(place), 0, rows.nbytes)])
        made.attrs.update(attributes)
    return r"stored in '.*other\.h5'"


@pytest.mark.parametrize("kind", [external, virtual, stored_outside])
def test_other_files_are_refused_by_name_unless_links_are_followed(case, content, kind):
    expected = content(case)
    message = kind(case)
    with pytest.raises(FormatError, match=f"{message}; other files are not followed.* --follow-links") as caught:
        case.source(case.file)
    assert repr(case.needed) in str(caught.value)
    with followed_links():
        assert_same(content(case), expected)
        (case.file.parent / "other.h5").unlink()
        with pytest.raises(FormatError, match=f"{message}, which is not there"):
            case.source(case.file)
    with pytest.raises(FormatError, match=f"{message}, which is not there; other files"):
        case.source(case.file)


def test_a_file_that_holds_less_than_it_should_is_noticed(case, content):
    stored_outside(case)
    place = case.file.parent / "other.h5"
    place.write_bytes(place.read_bytes()[:-1])
    with followed_links():
        try:
            _, metadata = content(case)
        except CorruptDataError as error:
            assert "1 of 1 chunks" in str(error)  # noqa: PT017
        else:
            assert any(text.startswith("1 of ") and "never written" in text for text in metadata["warnings"])


def test_a_virtual_dataset_of_the_file_itself_is_read(case, content):
    expected = content(case)
    moved(case, case.needed, "soft")
    with h5py.File(case.file, "r+") as file:
        array = file["zz_elsewhere"]
        layout = h5py.VirtualLayout(array.shape, array.dtype)
        layout[...] = h5py.VirtualSource(".", "zz_elsewhere", array.shape)
        del file[case.needed]
        file.create_virtual_dataset(case.needed, layout).attrs.update(dict(array.attrs))
    assert_same(content(case), expected)
    with h5py.File(case.file, "r+") as file:
        del file["zz_elsewhere"]
    with pytest.raises(FormatError, match=r"is a virtual dataset of 'zz_elsewhere', which is not there"):
        content(case)


def rewritten(case, every):
    """Store the needed array of the file, and of every episode of it, in chunks of a row; every how many are written.

    Returns (chunks that were not written, chunks).
    """
    parts = case.needed.split("/")
    missing = total = 0
    with h5py.File(case.file, "r+") as file:
        names = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        for name in [name for name in names if is_alike(name, parts)]:
            rows, attributes = file[name][()], dict(file[name].attrs)
            del file[name]
            made = file.create_dataset(name, rows.shape, rows.dtype, chunks=(1, *rows.shape[1:]))
            made.attrs.update(attributes)
            for row in range(0, len(rows), every):
                made[row] = rows[row]
            missing += len(rows) - len(range(0, len(rows), every))
            total += len(rows)
    return missing, total


def is_alike(name, parts):
    def stem(part):
        return part.rstrip("0123456789")

    return [stem(part) for part in name.split("/")] == [stem(part) for part in parts]


def test_chunks_that_were_never_written_are_counted(case, content):
    with h5py.File(case.file, "r+") as file:  # all but one row
        rows, attributes = file[case.needed][()], dict(file[case.needed].attrs)
        del file[case.needed]
        made = file.create_dataset(case.needed, rows.shape, rows.dtype, chunks=(1, *rows.shape[1:]))
        made.attrs.update(attributes)
        made[1:] = rows[1:]
    _, metadata = content(case)
    (found,) = [text for text in metadata["warnings"] if "never written" in text]
    assert found.startswith("1 of "), found
    assert "fill values" in found


def test_an_array_of_which_most_was_never_written_is_refused(case, content):
    missing, total = rewritten(case, every=9)
    with pytest.raises(CorruptDataError, match=f"{missing:,} of {total:,} chunks of .* were never written"):
        content(case)


def test_an_array_without_any_storage_is_refused(case, content):
    parts = case.needed.split("/")
    with h5py.File(case.file, "r+") as file:
        names = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        for name in [name for name in names if is_alike(name, parts)]:
            shape, dtype, attributes = file[name].shape, file[name].dtype, dict(file[name].attrs)
            del file[name]
            file.create_dataset(name, shape, dtype).attrs.update(attributes)
            assert not file[name].id.get_storage_size()
    with pytest.raises(CorruptDataError, match="were never written"):
        content(case)


def test_a_file_that_is_open_for_writing_says_so(case):
    place = case.file.with_name("copy")
    with h5py.File(case.file) as given, h5py.File(place, "w", libver="latest") as file:
        for name in given:
            given.copy(name, file)
        file.attrs.update(dict(given.attrs))
        file.flush()
        place.replace(case.file)
        with pytest.raises(FormatError, match="open for writing, or its writer was killed"):
            case.source(case.file)


def test_a_group_of_very_many_names_is_refused(tmp_path):
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        group = file
        for _ in range(40):  # 2 ** 40 names
            inner = group.create_group("a")
            group["b"] = inner
            group = inner
    with pytest.raises(FormatError, match="has more than 64 names"):
        D4RLSource(tmp_path / "x.hdf5")
