"""Packing, protecting and matching messages, beside what smbprotocol makes of the same."""

from __future__ import annotations

import os
import threading
import types

import pytest
from smbprotocol.connection import Connection
from smbprotocol.header import Commands, Smb2Flags, SMB2HeaderRequest, SMB2HeaderResponse
from smbprotocol.open import (
    CreateDisposition,
    CreateOptions,
    FilePipePrinterAccessMask,
    ImpersonationLevel,
    Open,
    ShareAccess,
    SMB2ReadRequest,
    SMB2WriteRequest,
)

from jenkins_release.share.smb.packed import messages
from jenkins_release.share.smb.packed.exchange import Done, PackedExchange, Protection
from jenkins_release.share.smb.packed.protection import (
    AES_128_CCM,
    AES_128_GCM,
    AES_256_CCM,
    AES_256_GCM,
    AES_CMAC,
    AES_GMAC,
    HMAC_SHA256,
    SMB_2_1,
    SMB_3_0,
    SMB_3_1_1,
    Unprotected,
    sealer,
    signer,
    unknown,
)
from jenkins_release.share.smb.packed.related import RelatedRequest
from tests.fixtures.damage import flipped

FILE_ID = bytes(range(16))
KEY = os.urandom(16)


class TestRequests:
    def test_a_header(self) -> None:
        """Byte for byte what the library packs."""
        theirs = SMB2HeaderRequest()
        theirs["credit_charge"] = 16
        theirs["command"] = Commands.SMB2_WRITE
        theirs["credit_request"] = 32
        theirs["flags"].set_flag(Smb2Flags.SMB2_FLAGS_SIGNED)
        theirs["message_id"] = 2**40
        theirs["tree_id"] = 7
        theirs["session_id"] = 2**63
        ours = messages.request_header(messages.WRITE, 2**40, 2**63, 7, charge=16, wanted=32, signed=True)
        assert ours == theirs.pack()

    def test_a_header_among_others(self) -> None:
        """The same, for a request about the file of the one before."""
        theirs = SMB2HeaderRequest()
        theirs["command"] = Commands.SMB2_CREATE
        theirs["flags"].set_flag(Smb2Flags.SMB2_FLAGS_RELATED_OPERATIONS)
        theirs["flags"].set_flag(Smb2Flags.SMB2_FLAGS_DFS_OPERATIONS)
        theirs["next_command"] = 192
        flags = messages.FLAG_RELATED | messages.FLAG_DFS
        ours = messages.request_header(
            messages.CREATE, 0, 0, 0, charge=0, wanted=0, signed=False, flags=flags, following=192
        )
        assert ours == theirs.pack()

    @pytest.mark.parametrize(
        "path", ["", "a", "SkyDRM\\8.1.0\\42\\candidate.json", "Prüfung\\\U0001f680"], ids=repr
    )
    def test_a_create(self, path: str) -> None:
        """Byte for byte what the library packs, also for the share itself and names beyond ASCII."""
        connection = types.SimpleNamespace(dialect=0x0311)
        tree = types.SimpleNamespace(session=types.SimpleNamespace(connection=connection))
        given = {
            "access": int(FilePipePrinterAccessMask.FILE_READ_DATA),
            "attributes": 0x80,
            "share": int(ShareAccess.FILE_SHARE_READ | ShareAccess.FILE_SHARE_DELETE),
            "disposition": int(CreateDisposition.FILE_OPEN),
            "options": int(CreateOptions.FILE_NON_DIRECTORY_FILE),
        }
        theirs, _ = Open(tree, path).create(ImpersonationLevel.Impersonation, *given.values(), send=False)
        assert messages.create_body(path, **given) == theirs.pack()

    def test_a_read(self) -> None:
        """Byte for byte what the library packs, but for where the data is wanted."""
        theirs = SMB2ReadRequest()
        theirs["length"] = 1 << 20
        theirs["offset"] = 2**40
        theirs["file_id"] = FILE_ID
        theirs["padding"] = 0x50
        assert messages.read_body(FILE_ID, 2**40, 1 << 20) == theirs.pack()

    def test_a_write(self) -> None:
        """Byte for byte what the library packs."""
        theirs = SMB2WriteRequest()
        theirs["offset"] = 2**40
        theirs["file_id"] = FILE_ID
        theirs["buffer"] = b"data"
        assert messages.write_body(FILE_ID, 2**40, 4) + b"data" == theirs.pack()

    @pytest.mark.parametrize("size", [0, 10, 63])
    def test_what_is_no_message(self, size: int) -> None:
        """Too few bytes are an error, not an index out of range somewhere."""
        for parse in (messages.parse_header, messages.read_answer, messages.write_answer):
            with pytest.raises(ValueError, match=r"message|response"):
                parse(bytes(size))
        with pytest.raises(ValueError, match=r"encrypted|transform"):
            messages.parse_transform(bytes(size))


class TestSignatures:
    @pytest.mark.parametrize(
        ("dialect", "algorithm"),
        [
            (SMB_2_1, None),
            (SMB_3_0, None),
            (SMB_3_1_1, None),
            (SMB_3_1_1, HMAC_SHA256),
            (SMB_3_1_1, AES_CMAC),
            (SMB_3_1_1, AES_GMAC),
        ],
    )
    @pytest.mark.parametrize("answer", [True, False])
    def test_they_are_those_of_the_library(self, dialect: int, algorithm: int | None, answer: bool) -> None:
        """Over parts as over the whole."""
        message = bytes(64) + os.urandom(1000)
        connection = types.SimpleNamespace(dialect=dialect, signing_algorithm_id=algorithm)
        theirs = Connection._generate_signature(connection, message, KEY, 77, answer, messages.WRITE)
        parts = (message[:70], bytearray(message[70:500]), memoryview(message)[500:])
        assert signer(dialect, algorithm, KEY)(77, parts, answer=answer) == theirs


class TestEncryption:
    @pytest.mark.parametrize(
        ("dialect", "cipher", "size"),
        [
            (SMB_3_0, None, 16),
            (SMB_3_1_1, AES_128_CCM, 16),
            (SMB_3_1_1, AES_128_GCM, 16),
            (SMB_3_1_1, AES_256_CCM, 32),
            (SMB_3_1_1, AES_256_GCM, 32),
        ],
    )
    def test_the_library_reads_what_is_sealed(self, dialect: int, cipher: int | None, size: int) -> None:
        """And what is sealed with the key of the other direction is unsealed in two parts."""
        from smbprotocol.connection import SMB2TransformHeader

        key = os.urandom(size)
        ours = sealer(dialect, cipher, key, key)
        plain = os.urandom(5000)
        nonce = os.urandom(ours.nonce_size)
        transform = messages.transform_header(nonce, len(plain), 9)
        tag, sealed = ours.seal(transform, nonce, (plain[:100], memoryview(plain)[100:]))
        packet = messages.with_tag(transform, tag) + bytes(sealed)
        theirs = types.SimpleNamespace(
            dialect=dialect, cipher_id=cipher, session_table={9: types.SimpleNamespace(decryption_key=key)}
        )
        header = SMB2TransformHeader()
        header.unpack(packet)
        assert Connection._decrypt(theirs, header) == plain
        start, rest = ours.unseal(packet[: messages.FIXED], packet[messages.FIXED :])
        assert (start, rest) == (plain[: messages.FIXED], plain[messages.FIXED :])
        with pytest.raises(Unprotected):
            ours.unseal(packet[: messages.FIXED], flipped(packet, -1)[messages.FIXED :])

    @pytest.mark.parametrize(
        ("dialect", "signing", "cipher", "sealed", "found"),
        [
            (0x0202, None, None, False, "dialect 0x0202"),
            (0x0400, None, None, False, "dialect 0x0400"),
            (SMB_3_1_1, 3, AES_128_GCM, False, "signing algorithm 3"),
            (SMB_3_1_1, AES_GMAC, 5, True, "cipher 5"),
            (SMB_3_1_1, 3, AES_128_GCM, True, None),
            (SMB_3_1_1, AES_GMAC, 5, False, None),
            (SMB_2_1, None, None, False, None),
            (SMB_3_0, None, None, True, None),
        ],
    )
    def test_what_is_not_known_is_named(
        self, dialect: int, signing: int | None, cipher: int | None, sealed: bool, found: str | None
    ) -> None:
        """Only what the session uses counts."""
        assert unknown(dialect, signing, cipher, sealed=sealed) == found


class TestExchange:
    def test_silence_ends_the_wait_and_a_sign_of_life_prolongs_it(self) -> None:
        """The limit counts from the last byte heard, or from the last request."""
        now = [100.0]
        exchange = PackedExchange(lambda count: None, clock=lambda: now[0], least_rate=1)
        exchange.use(Protection(1, None, None))
        exchange.pack(5, Done(0, 10, reading=True), bytes(64), b"", None)
        now[0] += 9
        exchange.heard()
        now[0] += 9
        threading.Timer(0.05, exchange.fail, [ValueError("enough")]).start()
        with pytest.raises(Exception, match="enough"):
            exchange.take(10.0)
        silent = PackedExchange(lambda count: None, clock=lambda: now[0])
        now[0] += 11
        with pytest.raises(TimeoutError, match="10 s"):
            silent.take(10.0)

    def test_signs_of_life_that_move_nothing_do_not_prolong_it_for_ever(self) -> None:
        """A request has the limit, and what its bytes take at the least rate."""
        now = [100.0]
        exchange = PackedExchange(lambda count: None, clock=lambda: now[0], least_rate=10)
        exchange.use(Protection(1, None, None))
        exchange.pack(5, Done(0, 30, reading=True), bytes(64), b"", None)
        for _ in range(14):
            now[0] += 1
            exchange.heard()
        with pytest.raises(TimeoutError, match="did not transfer a piece in 13 s"):
            exchange.take(10.0)

    def test_what_nobody_asked_for_is_handed_on_untouched(self) -> None:
        """Messages of smbprotocol pass through, byte for byte."""
        exchange = PackedExchange(lambda count: None)
        exchange.use(Protection(1, None, None))
        exchange.pack(5, Done(0, 10, reading=True), bytes(64), b"", None)
        for message in (
            messages.request_header(1, 6, 1, 1, charge=0, wanted=1, signed=False) + os.urandom(500),
            b"\xfdSMB" + os.urandom(500),
        ):
            rest = memoryview(message)

            def receive(count: int) -> bytes:
                nonlocal rest
                part, rest = bytes(rest[:count]), rest[count:]
                return part

            assert exchange.accept(len(message), receive) == message
        assert len(exchange) == 1


class TestCompounds:
    """Several messages in one packet (MS-SMB2 section 3.2.5.1.9)."""

    @staticmethod
    def packet(*following: int) -> bytes:
        found = b""
        for number, offset in enumerate(following):
            header = messages.request_header(
                messages.READ, number, 7, 1, charge=1, wanted=1, signed=False, following=offset
            )
            found += header + bytes(8)
        return found

    def test_each_message_comes_with_its_header(self) -> None:
        """The last one ends with the packet."""
        found = messages.parse_compound(self.packet(72, 72, 0))
        assert [header.message_id for header, _ in found] == [0, 1, 2]
        assert [len(message) for _, message in found] == [72, 72, 72]

    @pytest.mark.parametrize("following", [1, 8, 63, 73, 80, 2**32 - 8], ids=str)
    def test_a_next_message_that_cannot_be_there_is_refused(self, following: int) -> None:
        """Within this one, not aligned, or beyond the packet."""
        with pytest.raises(ValueError, match="message"):
            messages.parse_compound(self.packet(following, 0))

    @pytest.mark.parametrize(
        ("command", "flags", "session"),
        [(messages.WRITE, messages.FLAG_ANSWER, 7), (messages.READ, 0, 7), (messages.READ, 1, 8)],
        ids=["other", "request", "session"],
    )
    def test_an_answer_to_something_else_is_refused(self, command: int, flags: int, session: int) -> None:
        """A request is answered by its own kind, not by a request, and in its session."""
        request = RelatedRequest(5, messages.READ, 7)
        header = messages.MessageHeader(0, command, 1, flags, 0, 5, session)
        with pytest.raises(ValueError, match="request 5"):
            request.settle(header, bytes(72))
        assert not request.response_event.is_set()
        theirs = SMB2HeaderResponse()
        theirs.unpack(
            messages.request_header(command, 5, session, 1, charge=1, wanted=1, signed=False, flags=flags)
        )
        request.response = theirs
        with pytest.raises(ValueError, match="request 5"):
            request.taken()

    def test_an_interim_answer_is_no_answer(self) -> None:
        """The wait goes on, and the id by which the request can be cancelled is known."""
        request = RelatedRequest(5, messages.READ, 7)
        flags = messages.FLAG_ANSWER | messages.FLAG_ASYNC
        interim = messages.MessageHeader(messages.PENDING, messages.READ, 1, flags, 0, 5, 7)
        request.settle(interim, bytes(range(72)))
        assert request.taken() is None
        assert request.async_id == bytes(range(32, 40))
        request.settle(
            messages.MessageHeader(0, messages.READ, 1, messages.FLAG_ANSWER, 0, 5, 7), bytes(64) + b"data"
        )
        answer = request.taken()
        assert answer is not None
        assert (answer.status, answer.body) == (0, b"data")
