"""An HTTP/2 server that takes back what it has taken: h2_server.py WHAT FILE. It prints its port, and writes the name of each piece of work
that it has done into the file, a line for each."""

import select
import socket
import sys
import threading
import time

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import hyperframe.frame

STREAMS = h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS
# How long a piece of work takes where there is to be more than one at a time, in seconds.
WORK = 0.01

what, file = sys.argv[1:]
lock = threading.Lock()


def write(line):
    with lock, open(file, "a") as done:
        done.write(line + "\n")


class Connection:
    def __init__(self, sock, nth):
        self.socket, self.nth = sock, nth
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        self.h2 = h2.connection.H2Connection(config)
        first = {STREAMS: 8 if what == "fewer" else 100}
        self.h2.local_settings = h2.settings.Settings(client=False, initial_values=first)
        self.h2.initiate_connection()
        self.flush()
        # Streams that have begun, and those that are answered later: when, which.
        self.works, self.whole, self.due, self.fewer = {}, 0, [], False

    def flush(self):
        self.socket.sendall(self.h2.data_to_send())

    def run(self):
        try:
            while self.turn():
                pass
        except (ConnectionResetError, BrokenPipeError):
            pass
        self.socket.close()

    def turn(self):
        """Whether it goes on."""
        wait = max(0, self.due[0][0] - time.monotonic()) if self.due else None
        if select.select([self.socket], [], [], wait)[0]:
            data = self.socket.recv(65536)
            if not data:
                return False
            for event in self.h2.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    self.works[event.stream_id] = dict(event.headers)["x-work"]
                if isinstance(event, h2.events.DataReceived):
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if isinstance(event, h2.events.StreamEnded) and not self.ended(event.stream_id):
                    return False
        while self.due and self.due[0][0] <= time.monotonic():
            self.answer(self.due.pop(0)[1])
        self.flush()
        return True

    def ended(self, stream):
        """A request is whole. Whether the connection goes on."""
        self.whole += 1
        if what.startswith("goodbye") and self.nth == 0:
            if self.whole == 3:
                self.goodbye()
            return self.whole < 3
        if what == "refuse" and self.whole % 3 == 2:
            self.h2.reset_stream(stream, h2.errors.ErrorCodes.REFUSED_STREAM)
        elif what == "fewer":
            self.due.append((time.monotonic() + WORK, stream))
            if self.whole == 8 and not self.fewer:
                # The library applies it, and enforces it, when the client has acknowledged it.
                self.fewer = True
                self.h2.update_settings({STREAMS: 2})
                write("fewer")
        else:
            self.answer(stream)
        return True

    def answer(self, stream):
        write(self.works[stream])
        self.h2.send_headers(stream, [(":status", "200")])
        self.h2.send_data(stream, b"hello", end_stream=True)

    def goodbye(self):
        """With three streams open: the first one will be, or may have been, answered. By hand: to h2 the connection would be over."""
        assert sorted(self.works) == [1, 3, 5]
        self.flush()
        self.socket.sendall(hyperframe.frame.GoAwayFrame(0, last_stream_id=1).serialize())
        if what == "goodbye":
            self.answer(1)
            self.flush()
        else:
            write(self.works[1])
        self.socket.shutdown(socket.SHUT_WR)
        self.socket.settimeout(5)
        while self.socket.recv(65536):
            pass


listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
connections = 0
while True:
    connection = Connection(listener.accept()[0], connections)
    threading.Thread(target=connection.run, daemon=True).start()
    connections += 1
