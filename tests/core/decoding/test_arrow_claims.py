import numpy as np
import pytest

from rlbuffers.decoding.arrow_claims import require_honest_buffers
from rlbuffers.decoding.claims import FREE_BYTES
from rlbuffers.errors import CorruptDataError

pyarrow = pytest.importorskip("pyarrow")
pytest.importorskip("pyarrow.ipc")

CODECS = [None, "lz4", "zstd"]
ROOM = 2 * FREE_BYTES


def written(path, column, codec):
    table = pyarrow.table({"x": column})
    options = pyarrow.ipc.IpcWriteOptions(compression=codec)
    with pyarrow.ipc.new_file(path, table.schema, options=options) as writer:
        writer.write_table(table)
    return path


def check(path):
    with pyarrow.OSFile(str(path)) as source:
        require_honest_buffers(source, path, pyarrow)
        return pyarrow.ipc.open_file(source).read_all()


@pytest.mark.parametrize("codec", CODECS[1:])
def test_buffers_may_become_what_is_free_and_no_more(tmp_path, codec):
    few = written(tmp_path / "few.arrow", np.zeros(ROOM, np.int8), codec)
    assert len(check(few)) == ROOM
    many = written(tmp_path / "many.arrow", np.zeros(ROOM + 1, np.int8), codec)
    with pytest.raises(CorruptDataError, match=r"many\.arrow: a batch of rows: it announces 134,217,729 bytes"):
        check(many)


@pytest.mark.parametrize("codec", CODECS[1:])
def test_the_buffers_of_a_dictionary_count(tmp_path, codec):
    large = pyarrow.DictionaryArray.from_arrays(np.zeros(2, np.int32), pyarrow.array(np.zeros(ROOM // 8 + 1)))
    with pytest.raises(CorruptDataError, match="a batch of rows: it announces"):
        check(written(tmp_path / "x.arrow", large, codec))


@pytest.mark.parametrize("codec", CODECS)
def test_honest_files_are_read_from_their_beginning(tmp_path, codec):
    rows = [{"a": [1.5, 2.5], "b": "text"}, {"a": [], "b": None}, None]
    assert check(written(tmp_path / "x.arrow", pyarrow.array(rows), codec))["x"].to_pylist() == rows


@pytest.mark.parametrize("codec", CODECS)
def test_flipped_bytes_are_refused_or_left_to_arrow(tmp_path, codec):
    path = written(tmp_path / "x.arrow", pyarrow.array([[1.0, 2.0]] * 50), codec)
    whole = path.read_bytes()
    for place in range(8, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            check(path)
        except (CorruptDataError, pyarrow.ArrowException, OSError) as error:
            assert str(error)  # noqa: PT017  either is right
