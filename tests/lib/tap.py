"""A TCP relay in front of pgveil that looks at every byte on its way to clients for a canary."""
import re
import socket
import threading


class Tap:
    """
    Listens on `tap.port`, relays to `target`. `patterns` are bytes regular expressions; what matched stands in
    `tap.found` with its surroundings. A match across two reads is seen as well: each read is looked at together with
    the end of the one before.
    """

    OVERLAP = 128

    def __init__(self, target, patterns):
        self.target = target
        self.patterns = [re.compile(p) for p in patterns]
        self.found = []
        self.bytes_seen = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.closing = False
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        self.closing = True
        # A blocked accept does not wake on close alone.
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            pass
        self.listener.close()

    def _accept(self):
        while not self.closing:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                client.close()
                continue
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._pump, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, True), daemon=True).start()

    def _pump(self, source, sink, watched):
        tail = b""
        try:
            while True:
                chunk = source.recv(65536)
                if not chunk:
                    break
                if watched:
                    window = tail + chunk
                    self._look(window)
                    tail = window[-self.OVERLAP:]
                sink.sendall(chunk)
        except OSError:
            pass
        finally:
            try:
                sink.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            if watched:
                source.close()

    def _look(self, window):
        self.bytes_seen += len(window)
        for pattern in self.patterns:
            hit = pattern.search(window)
            if hit:
                self.found.append((pattern.pattern, window[max(0, hit.start() - 60):hit.end() + 60]))
