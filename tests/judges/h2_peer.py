"""An HTTP/2 client that behaves badly on purpose: h2_peer.py WHAT PORT. It prints what it sees, a line for each thing."""

import socket
import sys
import time

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import hpack
import hyperframe.frame

# No connection is waited for longer.
PATIENCE = 20
# A flood that nobody stops is stopped here.
FLOOD = 64 * 1024 * 1024
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\x04\0\0\0\0\0"
PING = b"\0\0\x08\x06\0\0\0\0\0" + b"12345678"


def say(*words):
    print(*words, flush=True)


class Peer:
    """A connection with its state machine."""

    def __init__(self, port, settings=None):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self.h2 = h2.connection.H2Connection(config)
        if settings:
            # What the first frame says.
            self.h2.local_settings = h2.settings.Settings(client=True, initial_values=settings)
        self.h2.initiate_connection()
        self.flush()

    def flush(self):
        self.socket.sendall(self.h2.data_to_send())

    def begin(self, path):
        stream = self.h2.get_next_available_stream_id()
        fields = [(":method", "GET"), (":path", path), (":scheme", "http"), (":authority", "x")]
        self.h2.send_headers(stream, fields, end_stream=True)
        return stream

    def events(self):
        """What came, or None at the end of the connection."""
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            return None
        if not data:
            return None
        events = self.h2.receive_data(data)
        self.flush()
        return events

    def get(self, path, take=True):
        """The status and the body; or what ended it."""
        stream = self.begin(path)
        self.flush()
        status, body = None, b""
        while True:
            events = self.events()
            if events is None:
                return "closed", body
            for event in events:
                if isinstance(event, h2.events.ConnectionTerminated):
                    return "goaway", body
                if getattr(event, "stream_id", None) != stream:
                    continue
                if isinstance(event, h2.events.ResponseReceived):
                    status = dict(event.headers)[":status"]
                if isinstance(event, h2.events.DataReceived):
                    body += event.data
                    if take:
                        self.h2.acknowledge_received_data(event.flow_controlled_length, stream)
                        self.flush()
                if isinstance(event, h2.events.StreamReset):
                    return "reset", body
                if isinstance(event, h2.events.StreamEnded):
                    return status, body


def rapid_reset(port, pause):
    """Asks and takes it back, as often as it can; meanwhile somebody else is served."""
    good, bad = Peer(port), Peer(port)
    bad.socket.setblocking(False)
    sent, served, error = 0, 0, None
    begun = time.monotonic()
    while error is None and sent < 20_000 and time.monotonic() - begun < PATIENCE:
        try:
            stream = bad.begin("/never")
            bad.socket.sendall(bad.h2.data_to_send())
            time.sleep(pause)
            bad.h2.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
            bad.socket.sendall(bad.h2.data_to_send())
            sent += 1
        except (ConnectionResetError, BrokenPipeError):
            error = "closed"
        except BlockingIOError:
            pass
        try:
            data = bad.socket.recv(65536)
            events = bad.h2.receive_data(data)
            if not data:
                error = "closed"
        except BlockingIOError:
            events = []
        except (ConnectionResetError, BrokenPipeError):
            error, events = "closed", []
        for event in events:
            if isinstance(event, h2.events.ConnectionTerminated):
                error = h2.errors.ErrorCodes(event.error_code).name
        if sent % 50 == 0:
            assert good.get("/") == ("200", b"hello")
            served += 1
    bad.socket.close()
    assert good.get("/") == ("200", b"hello")
    say("requests", sent)
    say("served", served > 0)
    say("ended", error is not None)


def flood(port, frame):
    """Sends this again and again and reads nothing; meanwhile somebody else is served."""
    good = Peer(port)
    bad = socket.socket()
    # So that the answers soon have no place to go.
    bad.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    bad.settimeout(PATIENCE)
    bad.connect(("127.0.0.1", port))
    bad.sendall(PREFACE + SETTINGS)
    many = frame * (64 * 1024 // len(frame))
    sent, ended = 0, "never"
    bad.settimeout(0.2)
    begun = time.monotonic()
    while sent < FLOOD and time.monotonic() - begun < PATIENCE:
        try:
            sent += bad.send(many)
        except TimeoutError:
            # It is not read any more.
            assert good.get("/") == ("200", b"hello")
        except (ConnectionResetError, BrokenPipeError):
            ended = "closed"
            break
    assert good.get("/") == ("200", b"hello")
    say("ended", ended)
    say("bytes", sent)


def continuation(port, piece):
    """A head without an end."""
    good = Peer(port)
    bad = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    bad.sendall(PREFACE + SETTINGS)
    # :method GET, and it is not over.
    bad.sendall(b"\0\0\x01\x01\0\0\0\0\x01\x82")
    frame = len(piece).to_bytes(3, "big") + b"\x09\0\0\0\0\x01" + piece
    sent, ended = 0, "never"
    try:
        while sent < FLOOD:
            bad.sendall(frame * 16)
            sent += 16 * len(frame)
    except (ConnectionResetError, BrokenPipeError):
        ended = "closed"
    assert good.get("/") == ("200", b"hello")
    say("ended", ended)
    say("bytes", sent)


def shut_window(port, window):
    """Asks for much and takes no more than its window; then asks for little on the same connection."""
    peer = Peer(port, {h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
    ended, body = peer.get("/large", take=False)
    say("large", ended, len(body))
    stream = peer.begin("/")
    peer.h2.increment_flow_control_window(1000, stream)
    # What the large one has used up of the connection's.
    peer.h2.increment_flow_control_window(100_000)
    peer.flush()
    body = b""
    while not body.endswith(b"hello"):
        events = peer.events()
        if events is None:
            say("next closed")
            return
        body += b"".join(event.data for event in events if isinstance(event, h2.events.DataReceived))
    say("next", body.decode())


def goaway(port):
    """Has a request in flight while the server stops."""
    peer = Peer(port)
    peer.begin("/wait")
    peer.flush()
    # By hand from here: to h2, a connection of which it was told the end is over.
    decoder, received, status, body = hpack.Decoder(), b"", None, b""
    while True:
        data = peer.socket.recv(65536)
        if not data:
            say("closed")
            return
        received += data
        while len(received) >= 9:
            frame, length = hyperframe.frame.Frame.parse_frame_header(memoryview(received[:9]))
            if len(received) < 9 + length:
                break
            frame.parse_body(memoryview(received[9 : 9 + length]))
            received = received[9 + length :]
            if isinstance(frame, hyperframe.frame.GoAwayFrame):
                say("goaway", h2.errors.ErrorCodes(frame.error_code).name)
            if isinstance(frame, (hyperframe.frame.PingFrame, hyperframe.frame.SettingsFrame)):
                if "ACK" not in frame.flags:
                    peer.socket.sendall(acknowledged(frame))
            if isinstance(frame, hyperframe.frame.HeadersFrame):
                status = dict(decoder.decode(frame.data))[":status"]
            if isinstance(frame, hyperframe.frame.DataFrame):
                body += frame.data
                if "END_STREAM" in frame.flags:
                    say("answer", status, body.decode())


def acknowledged(frame):
    answer = type(frame)(0)
    answer.flags.add("ACK")
    if isinstance(frame, hyperframe.frame.PingFrame):
        answer.opaque_data = frame.opaque_data
    return answer.serialize()


what, port = sys.argv[1], int(sys.argv[2])
{
    "rapid-reset": lambda: rapid_reset(port, 0),
    "slow-reset": lambda: rapid_reset(port, 0.002),
    "settings": lambda: flood(port, SETTINGS),
    "ping": lambda: flood(port, PING),
    "continuation": lambda: continuation(port, b"\x40\x01a\x01b" * 100),
    "empty-continuation": lambda: continuation(port, b""),
    "no-window": lambda: shut_window(port, 0),
    "small-window": lambda: shut_window(port, 1000),
    "goaway": lambda: goaway(port),
}[what]()
