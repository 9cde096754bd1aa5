import numpy as np
import pytest

from rlbuffers.decoding import parquet_claims
from rlbuffers.decoding.parquet_claims import require_few_values, require_honest_columns
from rlbuffers.errors import CorruptDataError

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

FREE, FREE_OBJECTS = 1 << 20, 100_000
KINDS = {
    "float64": (8, np.zeros),
    "float32": (4, lambda count: np.zeros(count, np.float32)),
    "int64": (8, lambda count: np.zeros(count, np.int64)),
}


@pytest.fixture(autouse=True)
def _less_is_free(monkeypatch):
    monkeypatch.setattr(parquet_claims, "FREE_COLUMN_BYTES", FREE)
    monkeypatch.setattr(parquet_claims, "FREE_OBJECTS", FREE_OBJECTS)


def written(path, column, **options):
    parquet.write_table(pyarrow.table({"x": column}), path, **options)
    return parquet.ParquetFile(path), path


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_that_take_no_bytes_are_counted_by_their_width(tmp_path, kind):
    width, zeros = KINDS[kind]
    count = FREE // width
    file, path = written(tmp_path / "few.parquet", zeros(count), row_group_size=count)
    assert require_honest_columns(file, path) is file
    file, path = written(tmp_path / "many.parquet", zeros(count + 1), row_group_size=count + 1)
    with pytest.raises(
        CorruptDataError, match=r"many\.parquet: column 'x': it announces 1,048,5[78]\d bytes in memory"
    ):
        require_honest_columns(file, path)


def test_lists_are_counted_by_their_elements(tmp_path):
    count = FREE // 4 + 1
    lists = pyarrow.ListArray.from_arrays(np.array([0, count], np.int32), np.zeros(count, np.float32))
    file, path = written(tmp_path / "x.parquet", lists)
    with pytest.raises(CorruptDataError, match=r"column 'x\.list\.element'"):
        require_honest_columns(file, path)


def test_row_groups_are_bounded_one_by_one(tmp_path):
    count = FREE // 8 + 1
    file, path = written(tmp_path / "x.parquet", np.zeros(count), row_group_size=count // 2)
    assert require_honest_columns(file, path) is file


def test_values_that_do_not_shrink_are_never_too_many(tmp_path):
    file, path = written(tmp_path / "x.parquet", np.random.default_rng(0).normal(size=FREE // 8 + 100))
    assert require_honest_columns(file, path) is file


def test_values_that_become_objects_have_a_bound_of_their_own(tmp_path):
    file, path = written(tmp_path / "few.parquet", np.zeros(FREE_OBJECTS, np.int8), row_group_size=FREE_OBJECTS // 4)
    assert require_few_values(file, path) is file
    file, path = written(tmp_path / "many.parquet", np.zeros(FREE_OBJECTS + 1, np.int8), row_group_size=FREE_OBJECTS)
    with pytest.raises(CorruptDataError, match=r"many\.parquet: 100,001 values"):
        require_few_values(file, path)
