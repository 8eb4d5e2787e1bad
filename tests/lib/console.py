"""The page for auditors as a program asks it: one connection a request, cookies by hand."""
import http.client
import json


class Console:
    def __init__(self, port):
        self.port = port
        self.cookie = None

    def ask(self, method, path, body=None, headers=None, mark="page"):
        """(status, headers, bytes) of one request; headers None leaves one out."""
        sent = {"Host": "127.0.0.1:%d" % self.port}
        if mark is not None:
            sent["X-Pgveil-Console"] = mark
        if self.cookie is not None:
            sent["Cookie"] = "other=1; " + self.cookie
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        sent.update(headers or {})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in sent.items():
                if value is not None:
                    connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def get(self, path, status=200, **more):
        got, _, body = self.ask("GET", "/api/" + path, **more)
        assert got == status, (got, body)
        return json.loads(body)

    def login(self, user, password, status=200):
        got, headers, body = self.ask("POST", "/api/login", {"user": user, "password": password})
        assert got == status, (got, body)
        if status == 200:
            self.cookie = headers["Set-Cookie"].split(";")[0]
        return json.loads(body)
