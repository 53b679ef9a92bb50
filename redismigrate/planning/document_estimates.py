"""What rewriting the documents of an index costs, from a sample of them where there is one.

The constants are measured like those of `redismigrate.planning.estimates`, with 40,000 documents each. One
with a vector of 128, 768 and 1,536 FLOAT32 was, through the document engine, read in 7, 14 and 20 us, backed
up in 4, 7 and 21 us, converted to FLOAT16 and written in 4, 12 and 22 us, in 9, 21 and 49 us when compared
first. SCAN takes 0.5 us for each key of the server. A backup has 40 bytes besides the vector, with keys of 9.
"""

from __future__ import annotations

from redismigrate.documents.rewrite import BYTES_PER_COMPONENT, Recoding, Rewrite
from redismigrate.documents.storage_change import StorageChange
from redismigrate.documents.twins import twins_of
from redismigrate.planning.document_sample import DocumentSample, bytes_of, share_of
from redismigrate.planning.estimates import BUILD_SECONDS_PER_KEY, documents_of, slowness_of
from redismigrate.planning.index_memory import allocated_bytes
from redismigrate.planning.inventory import Inventory
from redismigrate.planning.plan import Estimate
from redismigrate.schema.definition import IndexDefinition
from redismigrate.schema.json_paths import WHOLE_DOCUMENT
from redismigrate.schema.quantization import INT8_MAX, UINT8_MAX, Quantization
from redismigrate.schema.strict import encode

SCAN_SECONDS_PER_KEY = 0.5e-6
READ_SECONDS, READ_SECONDS_PER_BYTE = 3e-6, 3.5e-9
LENGTH_SECONDS = 2e-6
BACKUP_SECONDS, BACKUP_SECONDS_PER_BYTE = 3.5e-6, 2e-9
WRITE_SECONDS, WRITE_SECONDS_PER_BYTE = 3.5e-6, 3e-9
# A string of the state beside every copy, as long as copies are followed; of hashes it remembers every field.
# Beside documents of which values stand twice there is one, too.
MARK_BYTES_PER_COPY, MARK_BYTES_PER_FIELD = 175, 9
# A number of a vector in a JSON document, and in its text: seen with 384 of them, 11,460 and 4,230 bytes.
JSON_BYTES_PER_COMPONENT, TEXT_BYTES_PER_COMPONENT = 30, 11
# Of writing, or reading, one as text.
TEXT_SECONDS_PER_COMPONENT = 1e-6
COMPARED_WRITE_SECONDS, COMPARED_WRITE_SECONDS_PER_BYTE = 8e-6, 6e-9
LOOK_SECONDS, MOVE_SECONDS = 2e-6, 5e-6
MOVE_SECONDS_PER_JSON_BYTE = 10e-9
BACKUP_BYTES_PER_DOCUMENT, BACKUP_BYTES_PER_VALUE = 16, 9
BACKUP_BYTES_PER_BACKUP = 10_000

# A document shown to an index costs as much as 20 keys that the server's own scan passes over.
SPARSE_KEYS_PER_DOCUMENT = 20
SPARSE_FROM_KEYS = 20_000

# Of a number in an array, for the server.
JSON_MEMORY_PER_COMPONENT = 24
# Where no sample tells.
USUAL_KEY_BYTES = 20.0
USUAL_VALUE_BYTES = 100.0
USUAL_JSON_BYTES = 1000.0
# Beside a value: its header and the entry of the hash.
HASH_VALUE_OVERHEAD = 5


def backup_estimate(before: IndexDefinition, rewrite: Rewrite, inventory: Inventory) -> Estimate:
    """The cost of reading all documents of an index and of writing what changes in them to disk.

    Args:
        before: The index as it is.
        rewrite: What changes.
        inventory: The server.
    """
    documents = documents_of(before, inventory)
    sample = inventory.samples.get(before.served)
    read_bytes = _read_bytes(rewrite, sample)
    key_bytes = sample.key_bytes if sample is not None else USUAL_KEY_BYTES
    values = len(rewrite.recodings) or int(rewrite.reads_whole_documents or rewrite.storage is not None)
    saved_bytes = read_bytes + key_bytes + BACKUP_BYTES_PER_DOCUMENT + values * BACKUP_BYTES_PER_VALUE
    server_seconds = _scan_seconds(documents, inventory)
    if values:
        server_seconds += documents * (READ_SECONDS + READ_SECONDS_PER_BYTE * read_bytes)
    if rewrite.moves:
        server_seconds += documents * LOOK_SECONDS
    disk_seconds = documents * (BACKUP_SECONDS + BACKUP_SECONDS_PER_BYTE * read_bytes)
    return Estimate(
        documents=documents,
        bytes_read=round(documents * read_bytes),
        backup_bytes=round(documents * saved_bytes) + BACKUP_BYTES_PER_BACKUP,
        seconds=round(server_seconds * slowness_of(sample) + disk_seconds, 2),
    )


def rewrite_estimate(
    before: IndexDefinition, rewrite: Rewrite, inventory: Inventory, *, exclusive: bool
) -> Estimate:
    """The cost of giving the documents of an index their new form while the index is gone.

    Args:
        before: The index as it is.
        rewrite: What changes.
        inventory: The server.
        exclusive: Nobody else writes, so that documents are written without a look.
    """
    documents = documents_of(before, inventory)
    sample = inventory.samples.get(before.served)
    seconds = 0.0
    if rewrite.recodings:
        first, per_byte = (
            (WRITE_SECONDS, WRITE_SECONDS_PER_BYTE)
            if exclusive
            else (COMPARED_WRITE_SECONDS, COMPARED_WRITE_SECONDS_PER_BYTE)
        )
        seconds += documents * (first + per_byte * _read_bytes(rewrite, sample))
    if rewrite.moves:
        seconds += documents * MOVE_SECONDS
    if rewrite.storage is not None:
        size_bytes = _read_bytes(rewrite, sample)
        seconds += documents * (COMPARED_WRITE_SECONDS + COMPARED_WRITE_SECONDS_PER_BYTE * size_bytes)
        components = sum(value.dims for value in rewrite.storage.values)
        seconds += documents * components * TEXT_SECONDS_PER_COMPONENT
    if rewrite.reads_whole_documents:
        seconds += documents * MOVE_SECONDS_PER_JSON_BYTE * _read_bytes(rewrite, sample)
    seconds = round(seconds * slowness_of(sample), 2)
    grown_bytes = round(documents * _grown_bytes(rewrite, sample))
    return Estimate(
        documents=documents,
        bytes_written=round(documents * _written_bytes(rewrite, sample)),
        memory_bytes=max(0, grown_bytes),
        kept_memory_bytes=grown_bytes,
        seconds=seconds,
        search_downtime_seconds=seconds,
    )


def second_form_estimate(before: IndexDefinition, rewrite: Rewrite, inventory: Inventory) -> Estimate:
    """The cost of giving documents a second form beside the first, with search up.

    Args:
        before: The index as it is.
        rewrite: What differs; keys that move are copied whole.
        inventory: The server.
    """
    documents = documents_of(before, inventory)
    sample = inventory.samples.get(before.served)
    size_bytes, twins = _written_bytes(rewrite, sample), twins_of(rewrite)
    # Both paths of a value are remembered.
    marks = MARK_BYTES_PER_COPY + 2 * MARK_BYTES_PER_FIELD * len(twins) if twins else 0
    if rewrite.prefixes:
        marks = MARK_BYTES_PER_COPY
        if rewrite.storage_after == "hash":
            marks += MARK_BYTES_PER_FIELD * len(before.schema.fields)
        size_bytes = bytes_of(sample, WHOLE_DOCUMENT, USUAL_JSON_BYTES)
    held_bytes, seconds = size_bytes, 0.0
    if rewrite.storage is not None:
        size_bytes, held_bytes = _stored_bytes(rewrite.storage, size_bytes)
        components = sum(value.dims for value in rewrite.storage.values)
        seconds = documents * components * TEXT_SECONDS_PER_COMPONENT
    seconds += documents * (COMPARED_WRITE_SECONDS + COMPARED_WRITE_SECONDS_PER_BYTE * size_bytes)
    of_values = allocated_bytes(round(held_bytes) + HASH_VALUE_OVERHEAD)
    if rewrite.storage_type == "json" and rewrite.recodings and not rewrite.prefixes:
        of_values = round(sum(_array_bytes_after(recoding, sample) for recoding in rewrite.recodings))
    memory_bytes = round(documents * (of_values + marks))
    return Estimate(
        documents=documents,
        bytes_read=round(documents * (_read_bytes(rewrite, sample) or size_bytes)),
        bytes_written=round(documents * size_bytes),
        memory_bytes=memory_bytes,
        kept_memory_bytes=memory_bytes,
        seconds=round(seconds * slowness_of(sample), 2),
    )


def _stored_bytes(change: StorageChange, size_bytes: float) -> tuple[float, float]:
    """Of a document of the other type: what is sent, and what the server takes for it.

    Args:
        change: What becomes of it.
        size_bytes: What it has as it is.
    """
    vectors = [value for value in change.values if value.datatype is not None]
    in_hash = sum(value.dims * BYTES_PER_COMPONENT[value.datatype] for value in vectors if value.datatype)
    components = sum(value.dims for value in vectors)
    if change.to == "json":
        rest = max(0.0, size_bytes - in_hash)
        return rest + components * TEXT_BYTES_PER_COMPONENT, rest + components * JSON_BYTES_PER_COMPONENT
    rest = max(0.0, size_bytes - components * TEXT_BYTES_PER_COMPONENT)
    return rest + in_hash, rest + in_hash


def catch_up_estimate(before: IndexDefinition, rewrite: Rewrite, inventory: Inventory) -> Estimate:
    """The cost of looking for documents that were written in the old form meanwhile.

    The length of a value tells its form unless both have one width: then it is read.

    Args:
        before: The index as it is.
        rewrite: What changes.
        inventory: The server.
    """
    documents = documents_of(before, inventory)
    sample = inventory.samples.get(before.served)
    read_bytes, seconds = 0.0, 0.0
    for recoding in rewrite.recodings:
        seconds += _scan_seconds(documents, inventory) + documents * LENGTH_SECONDS
        if recoding.has_one_width:
            read_bytes += recoding.bytes_after * share_of(sample, recoding.path)
    seconds += documents * READ_SECONDS_PER_BYTE * read_bytes
    return Estimate(
        documents=documents,
        bytes_read=round(documents * read_bytes),
        seconds=round(seconds * slowness_of(sample), 2),
    )


def is_sparse(before: IndexDefinition, inventory: Inventory) -> bool:
    """Whether the documents of an index are so few among all keys that no scan by the server pays off.

    It is not known of JSON how to write a value unchanged at little cost. And where partial updates are
    ignored, or may be, writing one may index nothing.
    """
    documents, keys = documents_of(before, inventory), inventory.total_keys
    return (
        before.schema.storage_type == "hash"
        and inventory.capabilities.tells_settings
        and not inventory.capabilities.ignores_partial_updates
        and keys >= SPARSE_FROM_KEYS
        and documents * SPARSE_KEYS_PER_DOCUMENT <= keys
    )


def without_scan(build: Estimate, before: IndexDefinition, inventory: Inventory) -> Estimate:
    """The cost of building an index that is shown its documents instead of scanning all keys for them."""
    scan = inventory.total_keys * BUILD_SECONDS_PER_KEY * slowness_of(inventory.samples.get(before.served))
    seconds = round(max(0.0, build.seconds - scan), 2)
    return build.model_copy(update={"seconds": seconds, "search_downtime_seconds": seconds})


def expected_quantizations(
    before: IndexDefinition, rewrite: Rewrite, inventory: Inventory
) -> dict[str, Quantization]:
    """How integers will about be made, by the vectors of a sample; of fields without one nothing is said."""
    sample = inventory.samples.get(before.served)
    expected = {}
    for recoding in rewrite.recodings:
        found = None if sample is None else sample.fields.get(recoding.path)
        if recoding.after == "INT8" and recoding.distance_metric == "COSINE":
            expected[recoding.path] = Quantization("int8_per_vector")
        elif found is None or found.smallest is None or found.largest is None or not found.largest_magnitude:
            continue
        elif recoding.after == "INT8":
            expected[recoding.path] = Quantization("int8_per_index", found.largest_magnitude / INT8_MAX)
        elif recoding.after == "UINT8" and recoding.distance_metric == "COSINE" and found.smallest >= 0:
            expected[recoding.path] = Quantization("uint8_per_vector")
        elif recoding.after == "UINT8":
            low = min(found.smallest, 0.0)
            scale = (found.largest - low) / UINT8_MAX
            expected[recoding.path] = Quantization("uint8_per_index", scale, low)
    return expected


def _scan_seconds(documents: int, inventory: Inventory) -> float:
    return max(documents, inventory.total_keys) * SCAN_SECONDS_PER_KEY


def _read_bytes(rewrite: Rewrite, sample: DocumentSample | None) -> float:
    """Of one document, by the client."""
    if rewrite.reads_whole_documents or rewrite.changes_type_in_place:
        return bytes_of(sample, WHOLE_DOCUMENT, USUAL_JSON_BYTES)
    return sum(bytes_of(sample, recoding.path, recoding.bytes_before) for recoding in rewrite.recodings)


def _written_bytes(rewrite: Rewrite, sample: DocumentSample | None) -> float:
    """Of one document, whoever writes them."""
    if rewrite.storage is not None:
        return _stored_bytes(rewrite.storage, _read_bytes(rewrite, sample))[0]
    total = sum(recoding.bytes_after * share_of(sample, recoding.path) for recoding in rewrite.recodings)
    widths = {recoding.path: recoding.bytes_after for recoding in rewrite.recodings}
    for rename in rewrite.renames:
        # A vector that moves was counted in its new form; it is written once more.
        total += (
            widths[rename.old] * share_of(sample, rename.old)
            if rename.old in widths
            else bytes_of(sample, rename.old, USUAL_VALUE_BYTES)
        )
    return total


def _array_bytes_after(recoding: Recoding, sample: DocumentSample | None) -> float:
    """What the new array takes in the server, by what the old ones of a sample take."""
    usual = JSON_MEMORY_PER_COMPONENT * recoding.dims
    return bytes_of(sample, recoding.path, usual) * recoding.dims_after / recoding.dims


def saved_bytes_of(recoding: Recoding, sample: DocumentSample | None) -> float:
    """What one vector takes less afterwards; below 0: more.

    Args:
        recoding: Of it.
        sample: Of the documents; what an array of JSON takes, the server has told of some.
    """
    found = None if sample is None else sample.fields.get(recoding.path)
    if recoding.is_json and found is not None and found.mean_bytes:
        return found.mean_bytes * (1 - recoding.dims_after / recoding.dims)
    return recoding.bytes_before - recoding.bytes_after


def _grown_bytes(rewrite: Rewrite, sample: DocumentSample | None) -> float:
    """What one document takes more in the server afterwards; below 0: less."""
    if rewrite.storage is not None:
        size_bytes = _read_bytes(rewrite, sample)
        sent_bytes, held_bytes = _stored_bytes(rewrite.storage, size_bytes)
        held_before = _stored_bytes(rewrite.storage.reversed(), sent_bytes)[1]
        return held_bytes - held_before
    total = 0.0
    for recoding in rewrite.recodings:
        if recoding.is_json:
            is_one_more = recoding.new_path is not None and not recoding.is_way_back
            saved = share_of(sample, recoding.path) * saved_bytes_of(recoding, sample)
            total += _array_bytes_after(recoding, sample) if is_one_more else -saved
            continue
        wider = allocated_bytes(recoding.bytes_after + HASH_VALUE_OVERHEAD)
        replaced = allocated_bytes(recoding.bytes_before + HASH_VALUE_OVERHEAD)
        if recoding.new_path is not None and not recoding.is_way_back:
            replaced = -len(encode(recoding.new_path))  # it is one more field
        total += share_of(sample, recoding.path) * (wider - replaced)
    for rename in rewrite.renames:
        total += share_of(sample, rename.old) * (len(encode(rename.new)) - len(encode(rename.old)))
    return total + max((len(encode(p.new)) - len(encode(p.old)) for p in rewrite.prefixes), default=0)
