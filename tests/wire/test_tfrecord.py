import io
import struct

import pytest

from lamina.wire.crc32c import masked_crc32c
from lamina.wire.errors import DataLossError
from lamina.wire.tfrecord import RecordReader, RecordWriter, encode_record

RECORDS = [b"", b"one", bytes(range(256)) * 5, b"last"]


def written(records=RECORDS):
    file = io.BytesIO()
    writer = RecordWriter(file)
    for record in records:
        writer.write(record)
    return file.getvalue()


def read_until_error(data, **options):
    reader = RecordReader(io.BytesIO(data), "data.tfrecord", **options)
    got = []
    with pytest.raises(DataLossError) as caught:
        for record in reader:
            got.append(record)
    return got, str(caught.value), list(reader)


def test_a_record_has_the_documented_bytes():
    length = struct.pack("<Q", 3)
    crcs = struct.pack("<I", masked_crc32c(length)), struct.pack("<I", masked_crc32c(b"abc"))
    assert encode_record(b"abc") == length + crcs[0] + b"abc" + crcs[1]


@pytest.mark.parametrize("chunk_bytes", [1, 7, 12, 19, 64, 1 << 18])
def test_records_round_trip_for_every_chunk_size_and_resume_at_every_offset(chunk_bytes):
    data = written()
    reader = RecordReader(io.BytesIO(data), "d", chunk_bytes=chunk_bytes)
    places = [(reader.offset, reader.record)]
    assert [places.append((reader.offset, reader.record)) or r for r in reader] == RECORDS
    for i, (offset, record) in enumerate(places):
        file = io.BytesIO(data)
        file.seek(offset)
        assert list(RecordReader(file, "d", offset, record, chunk_bytes)) == RECORDS[i:]


def test_every_flipped_bit_is_noticed():
    data = written([b"one", b"second", b"3"])
    for i in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[i] ^= 1 << bit
            read_until_error(bytes(damaged))


def test_every_cut_is_noticed_except_between_records():
    data = written([b"one", b"second"])
    for n in range(len(data)):
        if n not in (0, 19):
            got, message, rest = read_until_error(data[:n])
            assert got == ([b"one"] if n > 19 else []) and rest == []
            assert "cut short" in message


def test_an_error_names_file_record_and_offset_and_reading_goes_on():
    data = bytearray(written([b"one", b"two", b"three"]))
    data[19 + 12] ^= 1
    got, message, rest = read_until_error(bytes(data))
    assert got == [b"one"] and rest == [b"three"]
    assert message.startswith("'data.tfrecord': record 1 at byte 19 is damaged: its 3 bytes do not fit their checksum.")


def test_a_damaged_length_ends_the_file():
    data = bytearray(written([b"one", b"two", b"three"]))
    data[19] ^= 1
    got, message, rest = read_until_error(bytes(data))
    assert got == [b"one"] and rest == []
    assert "record 1 at byte 19" in message and "length" in message


def test_a_length_that_lies_allocates_nothing():
    length = struct.pack("<Q", 1 << 62)
    lying = length + struct.pack("<I", masked_crc32c(length)) + b"short"
    got, message, rest = read_until_error(written([b"ok"]) + lying)
    assert got == [b"ok"] and rest == []
    assert "bytes too early" in message
