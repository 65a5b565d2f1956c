// Requests as no browser sends them, for every HTTP server of ours: HOST stands for its own, PATH for a path that it answers.

/** Each is over with one answer below 500 that is no success, or with none. */
export const ATTACKS: Readonly<Record<string, string>> = {
  "a length and chunks":
    "POST PATH HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
  "two lengths": "POST PATH HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
  "a length below nothing": "POST PATH HTTP/1.1\r\nHost: HOST\r\nContent-Length: -1\r\n\r\n",
  "a length with a sign": "POST PATH HTTP/1.1\r\nHost: HOST\r\nContent-Length: +5\r\n\r\nabcde",
  "another coding": "POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
  "a chunk without an end":
    "POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
  "two hosts, the other one first": "GET PATH HTTP/1.1\r\nHost: evil.example\r\nHost: HOST\r\n\r\n",
  "no host": "GET PATH HTTP/1.1\r\n\r\n",
  "a host in a folded line": "GET PATH HTTP/1.1\r\nHost: evil.example\r\n HOST\r\n\r\n",
  "a host with spaces": "GET PATH HTTP/1.1\r\nHost : HOST\r\n\r\n",
  "a long header": `GET PATH HTTP/1.1\r\nHost: HOST\r\nX: ${"x".repeat(1_000_000)}\r\n\r\n`,
  "many headers": `GET PATH HTTP/1.1\r\nHost: HOST\r\n${"X: x\r\n".repeat(20_000)}\r\n`,
  "a long path": `GET PATH${"x".repeat(1_000_000)} HTTP/1.1\r\nHost: HOST\r\n\r\n`,
  "NUL in a header": "GET PATH HTTP/1.1\r\nHost: HOST\r\nX: a\0b\r\n\r\n",
  "lines without CR": "GET PATH HTTP/1.1\nHost: HOST\n\n",
  "another version": "GET PATH HTTP/9.9\r\nHost: HOST\r\n\r\n",
  "HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
  TLS: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
  CONNECT: "CONNECT HOST HTTP/1.1\r\nHost: HOST\r\n\r\n",
  TRACE: "TRACE PATH HTTP/1.1\r\nHost: HOST\r\n\r\n",
  OPTIONS: "OPTIONS * HTTP/1.1\r\nHost: HOST\r\n\r\n",
  "a method by a header":
    "POST PATH HTTP/1.1\r\nHost: HOST\r\nX-HTTP-Method-Override: GET\r\nContent-Length: 0\r\n\r\n",
  "no path": "GET  HTTP/1.1\r\nHost: HOST\r\n\r\n",
  "the path of another machine": "GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
};
